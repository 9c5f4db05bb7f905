"""``convert``: weights from one kind of file to another, nothing lost.

The suffix says the kind: .pt and .safetensors are checkpoints that carry cfg, dialect, class names and
header with them (checkpoint.py), anything else is Darknet's. From .weights through either and back gives
the same bytes.
"""

from __future__ import annotations

import os
import pathlib

from .. import cfg as cfg_
from .. import loading
from .._typing import StrPath
from ..cfg import Dialect
from ..data.class_names import ClassNames, resolve_class_names
from ..errors import ConfigError, WeightsError
from ..files import atomic_write
from ..network import Network
from ..weights import checkpoint
from ..weights.containers import is_container, read
from . import layout as by_order_
from .fuse_bn import fold as fold_


def convert(
    source: StrPath,
    target: StrPath,
    *,
    cfg: StrPath | None = None,
    names: ClassNames = None,
    dialect: Dialect | str | None = None,
    upto: int | None = None,
    by_order: bool = False,
    fold: bool = False,
    write_cfg: StrPath | None = None,
) -> Network:
    """Read the weights in ``source``, write them to ``target`` and return the network.

    ``cfg``: the network, needed unless ``source`` is a checkpoint of this package. ``names``: a file or
    sequence of class names that the target shall carry. ``dialect``: None: a checkpoint's own, else
    AlexeyAB's. ``upto``: the file holds the first so many layers (a backbone), and so does the target.
    ``by_order``: ``source`` is a state dict of another program, taken by the order of its tensors.
    ``fold``: work batch norm into the weights, which changes the cfg. ``write_cfg``: where to write the
    cfg that the target's weights belong to. Raises ConfigError, WeightsError and DataError.
    """
    if fold and write_cfg is None and not is_container(target):
        raise WeightsError(f"{os.fspath(target)}: folded weights need a cfg of their own: say where with write_cfg")
    if by_order:
        network = _foreign(source, cfg, dialect)
    else:
        network, upto = _own(source, cfg, dialect, upto)
    if names is not None:
        classes = network.heads[-1].classes if network.heads else 0
        network.names = tuple(resolve_class_names(names, classes, exact=bool(network.heads)))
    if fold:
        network = fold_(network)
    loading.save(network, target, upto=upto)
    if write_cfg is not None:
        _write_cfg(network, write_cfg)
    return network


def _own(
    source: StrPath, cfg: StrPath | None, dialect: Dialect | str | None, upto: int | None
) -> tuple[Network, int | None]:
    """The network in a checkpoint or a .weights file, and how many layers of it the file holds."""
    if not is_container(source):
        if cfg is None:
            raise ConfigError(f"{os.fspath(source)}: a .weights file does not say what network it is for: give its cfg")
        return loading.load(cfg, source, dialect=dialect, upto=upto), upto
    if upto is None:
        held = checkpoint.load(source)
        sections = cfg_.loads(held.cfg).sections[1:]
        upto = held.layers if held.layers < len(sections) else None
    if cfg is not None:
        return loading.load(cfg, source, dialect=dialect, upto=upto), upto
    return loading.load(source, dialect=dialect, upto=upto), upto


def _foreign(source: StrPath, cfg: StrPath | None, dialect: Dialect | str | None) -> Network:
    if cfg is None or not is_container(source):
        raise ConfigError(f"{os.fspath(source)}: by_order needs a .pt or .safetensors of another program and the cfg")
    network = loading.load(cfg, dialect=dialect)
    path = os.fspath(source)
    return by_order_.fill(network, by_order_.tensors(read(source), path), path)


def _write_cfg(network: Network, path: StrPath) -> None:
    text = network.config.text or cfg_.dumps(network.config)
    content = text.encode("utf-8", errors="surrogateescape")
    if pathlib.Path(path).exists() and pathlib.Path(path).read_bytes() == content:
        return
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"{os.fspath(path)}: {error.strerror or error}") from error
