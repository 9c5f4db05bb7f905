"""Checkpoints: a network with its cfg in one .pt or .safetensors file.

A .pt is a dict of plain values as ``torch.save`` writes it, so that ``torch.load`` takes it with
``weights_only=True``; a .safetensors has the same entries as strings in its metadata (lists and dicts as
JSON) and the state dict as its tensors:

    format          "darknet_py 1"
    state_dict      tensors by name (layers.3.norm.scales), of the first ``layers`` layers
    layers          how many layers the file fills: all, or those of a backbone
    cfg, cfg_name   the text of the cfg, and what its file was called
    files           the text of the trees and maps that the cfg names, by the names it uses
    dialect         "alexeyab" or "pjreddie"
    version, seen   the header of the .weights file (three numbers and one)
    names           of the classes; may be empty
    package         version of darknet_py that wrote the file

Nothing of a .weights file is lost on the way through one. No code is stored and none is run.
"""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import cfg as cfg_
from .._typing import StrPath
from ..cfg import Config, Dialect, schema
from ..errors import WeightsError
from ..network import Network
from . import containers

FORMAT = "darknet_py 1"


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds; the module's docstring says what each entry is."""

    state_dict: Mapping[str, Tensor]
    cfg: str
    cfg_name: str = "network.cfg"
    dialect: str = Dialect.ALEXEYAB
    version: tuple[int, ...] = (0, 2, 5)
    seen: int = 0
    layers: int = 0
    names: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def save(network: Network, path: StrPath, *, upto: int | None = None) -> None:
    """Write a network to a .pt or .safetensors file, whole or not at all.

    ``upto``: the first so many layers alone. Raises WeightsError where the file cannot be written.
    """
    from .._version import __version__

    held = take(network, upto)
    entries: dict[str, Any] = {"format": FORMAT, "package": __version__}
    entries |= {name: getattr(held, name) for name in Checkpoint.__dataclass_fields__}
    entries |= {name: list(getattr(held, name)) for name in ("version", "names")}
    containers.write(path, entries)


def take(network: Network, upto: int | None = None) -> Checkpoint:
    """What ``save`` writes of a network; the tensors are on the CPU."""
    count = len(network.layers) if upto is None else upto
    if not 0 < count <= len(network.layers):
        raise WeightsError(f"upto={upto}: expected 1..{len(network.layers)}, the number of layers")
    config = network.config
    return Checkpoint(
        {n: t.detach().cpu().contiguous() for n, t in network.state_dict().items() if layer_of(n) < count},
        config.text or cfg_.dumps(config),
        pathlib.Path(config.path).name,
        str(network.dialect),
        tuple(network.version),
        network.seen,
        count,
        tuple(network.names),
        {name: path.read_text(encoding="utf-8") for name, path in _named_files(network).items()},
    )


def load(path: StrPath) -> Checkpoint:
    """Read a file that ``save`` wrote. Raises WeightsError, also for what other programs wrote."""
    name = os.fspath(path)
    content = containers.read(path)
    if not (isinstance(content, dict) and str(content.get("format", "")).startswith("darknet_py")):
        what = f"a {type(content).__name__}"
        if isinstance(content, dict):
            what = f"{len(content)} entries ({', '.join(map(str, list(content)[:3]))}, ...)"
        raise WeightsError(
            f"{name}: expected a checkpoint of darknet_py, found {what}; the state dict of another program can be "
            "read by file order: darknet-py convert --by-order --cfg MY.cfg"
        )
    if content["format"] != FORMAT:
        raise WeightsError(f"{name}: written by a newer darknet_py ({content['format']!r}): expected {FORMAT!r}")
    try:
        entries = {key: content[key] for key in Checkpoint.__dataclass_fields__}
    except KeyError as error:
        raise WeightsError(f"{name}: a damaged checkpoint: no entry {error}") from None
    return Checkpoint(**entries | {"version": tuple(entries["version"]), "names": tuple(entries["names"])})


def build(
    held: Checkpoint,
    path: StrPath,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    strict: bool = False,
) -> Network:
    """The network that a checkpoint describes, without its weights; ``path`` is the file it came from."""
    config = cfg_.loads(held.cfg, f"{os.fspath(path)}:{held.cfg_name}")
    config = Config(config.sections, config.path, config.text, _unpacked(held.files))
    return Network(config, size=size, dialect=dialect or held.dialect, strict=strict)


@torch.no_grad()
def fill(network: Network, held: Checkpoint, path: StrPath, *, upto: int | None = None) -> Network:
    """Copy the weights into a network; ``path`` is the file they came from.

    ``upto``: the first so many layers alone. Raises WeightsError where names or shapes differ.
    """
    count = len(network.layers) if upto is None else upto
    if held.layers < count:
        raise WeightsError(f"{os.fspath(path)}: a backbone of {held.layers} layers: load it with upto={held.layers}")
    wanted = {name: tensor for name, tensor in network.state_dict().items() if layer_of(name) < count}
    given = {name: tensor for name, tensor in held.state_dict.items() if layer_of(name) < count}
    where = f"{os.fspath(path)}: "
    for name in sorted(wanted.keys() ^ given.keys(), key=layer_of):
        says = "holds no" if name in wanted else "holds what the cfg has not:"
        raise WeightsError(f"{where}{says} {name} (written for {held.cfg_name}): another cfg than it was written with?")
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            raise WeightsError(f"{where}{name}: expected {tuple(tensor.shape)}, found {tuple(given[name].shape)}")
    for name, tensor in wanted.items():
        tensor.copy_(given[name])
    major, minor, revision = held.version
    network.version, network.seen, network.names = (major, minor, revision), held.seen, tuple(held.names)
    return network


def layer_of(name: str) -> int:
    """The number of the layer that an entry of a state dict belongs to."""
    number = name.split(".")[1:2]
    return int(number[0]) if number and number[0].isdigit() else -1


def _named_files(network: Network) -> dict[str, pathlib.Path]:
    """Files that the cfg names, by the names it uses."""
    found: dict[str, pathlib.Path] = {}
    for layer, section in zip(network, network.config.sections[1:], strict=True):
        for key, option in schema.keys(type(layer.options)).items():
            path = getattr(layer.options, option.name)
            if isinstance(path, pathlib.Path):
                text = next(entry.value for entry in section.entries if entry.key == key and entry.value)
                found[str(pathlib.Path(text.partition("#")[0]))] = path
    return found


def _unpacked(files: Mapping[str, str]) -> dict[str, pathlib.Path]:
    """Write the files a checkpoint carries where layers can read them until the program ends."""
    if not files:
        return {}
    # Names from a file decide nothing here: a cfg may call its tree ../../anything.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="darknet_py."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found = {}
    for number, (name, text) in enumerate(files.items()):
        found[name] = folder / f"{number}-{pathlib.Path(name).name}"
        found[name].write_text(text, encoding="utf-8")
    return found
