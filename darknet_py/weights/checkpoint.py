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
    plugins         for each section of a plug-in, the module or the file that it was loaded from
    package         version of darknet_py that wrote the file

The state of a training run (``training.checkpoints``) is such a file with further entries. A bare state dict of a
``Network``, saved by ``torch.save(net.state_dict(), ...)`` or by a program that wraps networks, is read as well, but
has no cfg.

Conversion from .weights to a checkpoint and back is lossless. No code is stored or run.
"""

from __future__ import annotations

import atexit
import dataclasses
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .. import cfg as cfg_
from .._typing import StrPath
from ..cfg import Config, Dialect
from ..cfg import schema as cfg_schema
from ..errors import CheckpointError, WeightsError
from ..layers import is_known, plugin_of
from ..network import Network, unwrap
from ..text_files import read_text, to_unicode
from . import containers, schema
from .darknet_file import require_plain, stored
from .diagnostics import require_finite, require_memory, warn_of_non_finite
from .state_dicts import layer_of, own_state_dict, plain_state_dict

FORMAT = "darknet_py 1"


@dataclass(frozen=True)
class Checkpoint:
    """The entries of a file, see the docstring of the module, and the schema that they are checked against.

    ``cfg`` is empty, and ``layers`` is 0, for a state dict without them.
    """

    state_dict: Mapping[str, Tensor]
    cfg: str
    cfg_name: str = "network.cfg"
    dialect: str = Dialect.ALEXEYAB.value
    version: tuple[int, int, int] = (0, 2, 5)
    seen: int = 0
    layers: int = 0
    names: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)


def save(network: nn.Module, path: StrPath, *, upto: int | None = None, allow_non_finite: bool = False) -> None:
    """Write a network to a .pt or .safetensors file.

    Args:
        network: the network.
        path: the file to write; an existing one is replaced when the new one is complete.
        upto: write the first ``upto`` layers only.
        allow_non_finite: write weights that contain NaN or Inf, too.

    Raises:
        WeightsError: the file cannot be written, or the weights contain NaN or Inf.
    """
    network = unwrap(network)
    entries = to_entries(create(network, upto))
    if not allow_non_finite:
        require_finite(stored(network, upto=upto), network.config.path)
    containers.write(path, entries)


def to_entries(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the entries to write, by name."""
    from .._version import __version__

    entries: dict[str, Any] = {"format": FORMAT, "package": __version__}
    entries |= {name: getattr(checkpoint, name) for name in schema.fields(Checkpoint)}
    return entries | {name: list(getattr(checkpoint, name)) for name in ("version", "names")}


def create(network: Network, upto: int | None = None) -> Checkpoint:
    """Return a network as a checkpoint, with its tensors on the CPU."""
    count = len(network.layers) if upto is None else upto
    if not 0 < count <= len(network.layers):
        raise WeightsError(f"upto={upto}: expected 1..{len(network.layers)}, the number of layers")
    require_memory(network)
    return dataclasses.replace(
        without_weights(network),
        state_dict={n: t.cpu().contiguous() for n, t in plain_state_dict(network).items() if layer_of(n) < count},
        layers=count,
    )


def without_weights(network: Network) -> Checkpoint:
    """Return a checkpoint without tensors, from which ``build`` makes the same network."""
    config = network.config
    return Checkpoint(
        {},
        config.text or cfg_.dumps(config),
        pathlib.Path(config.path).name,
        str(network.dialect),
        network.version,
        network.seen,
        names=tuple(network.names),
        files={name: to_unicode(read_text(path)) for name, path in _named_files(network).items()},
        plugins=_named_plugins(network),
    )


def load(path: StrPath) -> Checkpoint:
    """Read a file that ``save`` wrote, the state of a training run, or the state dict of a ``Network``.

    Raises:
        CheckpointError: the file cannot be read, an entry is missing or has another type or range, or the file was
            written by another program.
    """
    return from_entries(containers.read(path), path)


def from_entries(content: Any, path: StrPath) -> Checkpoint:
    """Return the checkpoint in the content of a file; see ``load``."""
    name = os.fspath(path)
    version = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(version, str) and version.startswith("darknet_py"):
        if version != FORMAT:
            raise CheckpointError(f"{name}: expected format {FORMAT!r}, found {version[:40]!r} of another version")
        checkpoint = Checkpoint(**schema.check_entries(content, Checkpoint, name))
        _check_ranges(checkpoint, name)
        return checkpoint
    state = own_state_dict(content, name)
    if not state:
        raise CheckpointError(
            f"{name}: expected a checkpoint of darknet_py, found {_describe(content)}; a state dict of another program "
            "can be converted by the order of its tensors: darknet-py convert --by-order --cfg MY.cfg"
        )
    return Checkpoint(state, "")


def _check_ranges(checkpoint: Checkpoint, name: str) -> None:
    """Raise CheckpointError for a value that no file of ``save`` has."""
    count = max((layer_of(key) for key in checkpoint.state_dict), default=0)
    ranges: dict[str, tuple[bool, str]] = {
        "dialect": (checkpoint.dialect in list(Dialect), " or ".join(Dialect)),
        "version": (all(-(2**31) <= part < 2**31 for part in checkpoint.version), "integers of 32 bits"),
        "seen": (checkpoint.seen >= 0, "0 or more"),
        "layers": (checkpoint.layers > count, f"more than {count}, the last layer in state_dict"),
    }
    for key, (is_valid, expected) in ranges.items():
        if not is_valid:
            found = str(getattr(checkpoint, key))[:40]
            raise CheckpointError(f"{name}: entry {key}: expected {expected}, found {found}")


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    first = [key if isinstance(key, str) else type(key).__name__ for key in list(content)[:3]]
    return f"{len(content)} entries ({', '.join(first)}, ...)"


def build(
    checkpoint: Checkpoint,
    path: StrPath,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    strict: bool = False,
    max_bytes: int | None = None,
) -> Network:
    """Build the network of a checkpoint, without loading the weights.

    Args:
        checkpoint: the checkpoint.
        path: its file, for error messages.
        size: width and height of the input in pixels, instead of the cfg's.
        dialect: the fork of Darknet to follow, instead of the checkpoint's.
        strict: treat options without effect as errors.
        max_bytes: memory that the network may need, see ``Network``.
    """
    if not checkpoint.cfg:
        raise CheckpointError(f"{os.fspath(path)}: a state dict has no cfg: expected load(CFG, {os.fspath(path)!r})")
    for name, plugin in checkpoint.plugins.items():
        if not is_known(name):
            raise CheckpointError(
                f"{os.fspath(path)}: [{name}] is a section of the plug-in {plugin}: expected --plugin {plugin}, or "
                f"darknet_py.load_plugin({plugin!r}), before it is loaded"
            )
    config = cfg_.loads(checkpoint.cfg, f"{os.fspath(path)}:{checkpoint.cfg_name}")
    config = Config(config.sections, config.path, config.text, _unpack_files(checkpoint.files))
    return Network(config, size=size, dialect=dialect or checkpoint.dialect, strict=strict, max_bytes=max_bytes)


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
    if 0 < checkpoint.layers < count:
        backbone = f"a backbone of {checkpoint.layers} layers, load it with upto={checkpoint.layers}"
        raise CheckpointError(f"{os.fspath(path)}: expected {count} layers, found {backbone}")
    require_plain(network)
    expected = {name: tensor for name, tensor in network.state_dict().items() if layer_of(name) < count}
    limit = math.inf if upto is None else count
    loaded = {name: tensor for name, tensor in checkpoint.state_dict.items() if layer_of(name) < limit}
    prefix = f"{os.fspath(path)}: "
    for name in sorted(expected.keys() ^ loaded.keys(), key=layer_of):
        problem = f"{name} is missing" if name in expected else f"{name} is not in the network"
        source = f"the cfg that it was written for ({checkpoint.cfg_name})" if checkpoint.cfg else "all of one network"
        raise CheckpointError(f"{prefix}{problem}: expected {source}")
    for name, tensor in expected.items():
        if tensor.shape != loaded[name].shape:
            raise CheckpointError(f"{prefix}{name}: expected {tuple(tensor.shape)}, found {tuple(loaded[name].shape)}")
    for name, tensor in expected.items():
        tensor.copy_(loaded[name])
    warn_of_non_finite(stored(network, upto=count), os.fspath(path))
    network.version = checkpoint.version
    network.seen = checkpoint.seen
    network.names = tuple(checkpoint.names)
    return network


def _named_plugins(network: Network) -> dict[str, str]:
    """Return what the sections of plug-ins were loaded from, by section."""
    sections = (section.name for section in network.config.sections[1:])
    plugins = {name: plugin_of(type(layer)) for name, layer in zip(sections, network, strict=True)}
    return {name: plugin for name, plugin in plugins.items() if plugin}


def _named_files(network: Network) -> dict[str, pathlib.Path]:
    """Return the files that the cfg names, by the names it uses."""
    files: dict[str, pathlib.Path] = {}
    for layer, section in zip(network, network.config.sections[1:], strict=True):
        for key, option in cfg_schema.keys(type(layer.options)).items():
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
