"""Checkpoints: a network with its cfg in one .pt or .safetensors file.

A .pt file is a dict of plain values that ``torch.load(path, weights_only=True)`` reads. A .safetensors file has the
tensors of ``state_dict``, and the other entries in its metadata (see ``containers``):

    format          "darknet_py 1"
    state_dict      tensors by name (layers.3.norm.scales) of the first ``layers`` layers
    layers          number of layers: all, or those of a backbone
    cfg, cfg_name   text of the cfg, and name of its file
    files           text of the trees and maps that the cfg names, by the names it uses
    dialect         "alexeyab" or "pjreddie"
    version, seen   header of the .weights file (three integers and one)
    names           class names, or empty
    package         version of darknet_py that wrote the file

Conversion from .weights to a checkpoint and back is lossless. No code is stored or run.
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
from ..text_files import read_text, to_unicode
from . import containers
from .darknet_file import stored
from .diagnostics import warn_of_non_finite

FORMAT = "darknet_py 1"


@dataclass(frozen=True)
class Checkpoint:
    """The entries of a file; see the docstring of the module."""

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
    """Write a network to a .pt or .safetensors file.

    Args:
        network: the network.
        path: the file to write; an existing one is replaced when the new one is complete.
        upto: write the first ``upto`` layers only.

    Raises:
        WeightsError: the file cannot be written.
    """
    from .._version import __version__

    content = create(network, upto)
    entries: dict[str, Any] = {"format": FORMAT, "package": __version__}
    entries |= {name: getattr(content, name) for name in Checkpoint.__dataclass_fields__}
    entries |= {name: list(getattr(content, name)) for name in ("version", "names")}
    containers.write(path, entries)


def create(network: Network, upto: int | None = None) -> Checkpoint:
    """Return a network as a checkpoint, with its tensors on the CPU."""
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
        {name: to_unicode(read_text(path)) for name, path in _named_files(network).items()},
    )


def load(path: StrPath) -> Checkpoint:
    """Read a file that ``save`` wrote.

    Raises:
        WeightsError: the file cannot be read, or was written by another program.
    """
    name = os.fspath(path)
    content = containers.read(path)
    if not (isinstance(content, dict) and str(content.get("format", "")).startswith("darknet_py")):
        kind = f"a {type(content).__name__}"
        if isinstance(content, dict):
            kind = f"{len(content)} entries ({', '.join(map(str, list(content)[:3]))}, ...)"
        raise WeightsError(
            f"{name}: expected a checkpoint of darknet_py, found {kind}; a state dict of another program can be "
            "converted by the order of its tensors: darknet-py convert --by-order --cfg MY.cfg"
        )
    if content["format"] != FORMAT:
        raise WeightsError(f"{name}: expected format {FORMAT!r}, found {content['format']!r} of a newer version")
    try:
        entries = {key: content[key] for key in Checkpoint.__dataclass_fields__}
    except KeyError as error:
        raise WeightsError(f"{name}: damaged: entry {error} is missing") from None
    return Checkpoint(**entries | {"version": tuple(entries["version"]), "names": tuple(entries["names"])})


def build(
    checkpoint: Checkpoint,
    path: StrPath,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    strict: bool = False,
) -> Network:
    """Build the network of a checkpoint, without loading the weights.

    Args:
        checkpoint: the checkpoint.
        path: its file, for error messages.
        size: width and height of the input in pixels, instead of the cfg's.
        dialect: the fork of Darknet to follow, instead of the checkpoint's.
        strict: treat options without effect as errors.
    """
    config = cfg_.loads(checkpoint.cfg, f"{os.fspath(path)}:{checkpoint.cfg_name}")
    config = Config(config.sections, config.path, config.text, _unpack_files(checkpoint.files))
    return Network(config, size=size, dialect=dialect or checkpoint.dialect, strict=strict)


@torch.no_grad()
def fill(network: Network, checkpoint: Checkpoint, path: StrPath, *, upto: int | None = None) -> Network:
    """Copy the weights of a checkpoint into a network.

    Args:
        network: the network, changed in place.
        checkpoint: the checkpoint.
        path: its file, for error messages.
        upto: load the first ``upto`` layers only.

    Returns:
        The network.

    Raises:
        WeightsError: the checkpoint has fewer layers, or names or shapes of tensors differ.
    """
    count = len(network.layers) if upto is None else upto
    if checkpoint.layers < count:
        backbone = f"a backbone of {checkpoint.layers} layers, load it with upto={checkpoint.layers}"
        raise WeightsError(f"{os.fspath(path)}: expected {count} layers, found {backbone}")
    expected = {name: tensor for name, tensor in network.state_dict().items() if layer_of(name) < count}
    loaded = {name: tensor for name, tensor in checkpoint.state_dict.items() if layer_of(name) < count}
    prefix = f"{os.fspath(path)}: "
    for name in sorted(expected.keys() ^ loaded.keys(), key=layer_of):
        problem = f"{name} is missing" if name in expected else f"{name} is not in the network"
        raise WeightsError(f"{prefix}{problem}: expected the cfg that it was written for ({checkpoint.cfg_name})")
    for name, tensor in expected.items():
        if tensor.shape != loaded[name].shape:
            raise WeightsError(f"{prefix}{name}: expected {tuple(tensor.shape)}, found {tuple(loaded[name].shape)}")
    for name, tensor in expected.items():
        tensor.copy_(loaded[name])
    warn_of_non_finite((array for array in stored(network) if array.layer < count), os.fspath(path))
    major, minor, revision = checkpoint.version
    network.version = (major, minor, revision)
    network.seen = checkpoint.seen
    network.names = tuple(checkpoint.names)
    return network


def layer_of(name: str) -> int:
    """Return the index of the layer that an entry of a state dict belongs to; -1 for none."""
    number = name.split(".")[1:2]
    return int(number[0]) if number and number[0].isdigit() else -1


def _named_files(network: Network) -> dict[str, pathlib.Path]:
    """Return the files that the cfg names, by the names it uses."""
    files: dict[str, pathlib.Path] = {}
    for layer, section in zip(network, network.config.sections[1:], strict=True):
        for key, option in schema.keys(type(layer.options)).items():
            path = getattr(layer.options, option.name)
            if isinstance(path, pathlib.Path):
                text = next(entry.value for entry in section.entries if entry.key == key and entry.value)
                files[str(pathlib.Path(text.partition("#")[0]))] = path
    return files


def _unpack_files(files: Mapping[str, str]) -> dict[str, pathlib.Path]:
    """Write the files of a checkpoint to a temporary folder that is deleted at exit, and return their paths."""
    if not files:
        return {}
    # A name in the file must not decide where it is written: it may be ../../anything.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="darknet_py."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    paths = {}
    for number, (name, text) in enumerate(files.items()):
        paths[name] = folder / f"{number}-{pathlib.Path(name).name}"
        paths[name].write_text(text, encoding="utf-8")
    return paths
