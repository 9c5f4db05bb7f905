"""Convert weights between .weights files and checkpoints.

The suffix selects the format: .pt and .safetensors are checkpoints that also hold cfg, dialect, class names and header
(``weights.checkpoint``); other files are Darknet's. Conversion to a checkpoint and back gives the same bytes.
State dicts of other libraries are read and written by the names of their tensors (``library_networks``).
"""

from __future__ import annotations

import os

from .. import cfg as cfg_
from .. import loading
from .._typing import StrPath
from ..cfg import Dialect
from ..data.class_names import ClassNames, resolve_class_names
from ..errors import ConfigError, WeightsError
from ..files import atomic_write, check_outputs
from ..hub import catalogue
from ..network import Network
from ..weights import checkpoint, stored
from ..weights.containers import is_container, is_safetensors, read, write
from ..weights.diagnostics import require_finite
from ..weights.state_dicts import find_state_dict, own_state_dict
from . import layout, library_networks
from .fuse_bn import fuse_batch_norm
from .state_dict_names import fill_by_name, library_state_dict


def convert(
    source: StrPath,
    target: StrPath,
    *,
    cfg: StrPath | None = None,
    names: ClassNames = None,
    dialect: Dialect | str | None = None,
    upto: int | None = None,
    by_order: bool = False,
    from_library: str | None = None,
    to_library: str | None = None,
    fuse_bn: bool = False,
    write_cfg: StrPath | None = None,
    allow_non_finite: bool = False,
) -> Network:
    """Convert weights from one file format to another.

    Args:
        source: The file to read.
        target: The file to write.
        cfg: The network; required unless ``source`` is a checkpoint of this package. With ``from_library`` and
            ``to_library`` the cfg of that name in ``cfgs/`` by default.
        names: Class names for the target: a file with one name a line, or a sequence; None: the source's own.
        dialect: Dialect of the cfg and of a .weights file; None: that of the checkpoint, else AlexeyAB's.
        upto: Number of layers that the source contains (a backbone) and the target will contain; None: all.
        by_order: ``source`` is the state dict of another PyTorch port, whose tensors are matched to the layers by their
            order, see ``conversion.layout``.
        from_library: ``source`` is a state dict of this network of another library, one of ``library_networks.NAMES``.
        to_library: Write ``target`` as a state dict of this network of another library.
        fuse_bn: Fuse batch norm into the weights, which changes the cfg.
        write_cfg: Where to write the cfg of the target.
        allow_non_finite: Convert weights that contain NaN or Inf, too.

    Returns:
        The network, with the target's weights.

    Raises:
        ConfigError: The cfg is missing or wrong, or there is no such network of another library.
        WeightsError: The source does not fit the network or contains NaN or Inf, or the target cannot be written.
        DataError: The class names do not fit the network, or a file to be written is one of those that are read.
    """
    if fuse_bn and write_cfg is None and not is_container(target):
        raise WeightsError(f"{os.fspath(target)}: fused weights need another cfg: expected write_cfg as well")
    check_outputs([target, write_cfg], [source, cfg, names if isinstance(names, str | os.PathLike) else None])
    if to_library is not None and (upto is not None or not is_container(target)):
        raise WeightsError(f"{os.fspath(target)}: to_library: expected a .pt, .pth or .safetensors file and all layers")
    if from_library is not None:
        network = _load_by_name(source, cfg or _library_cfg(from_library), dialect, from_library)
    elif by_order:
        network = _load_by_order(source, cfg, dialect)
    else:
        if to_library is not None and not is_container(source):
            cfg = cfg or _library_cfg(to_library)
        network, upto = _load(source, cfg, dialect, upto)
    if names is not None:
        classes = network.heads[-1].classes if network.heads else 0
        network.names = tuple(resolve_class_names(names, classes, exact=bool(network.heads)))
    if fuse_bn:
        network = fuse_batch_norm(network)
    if to_library is not None:
        _write_state_dict(network, target, to_library, allow_non_finite)
    else:
        loading.save(network, target, upto=upto, allow_non_finite=allow_non_finite)
    if write_cfg is not None:
        _write_cfg(network, write_cfg)
    return network


def _load(
    source: StrPath, cfg: StrPath | None, dialect: Dialect | str | None, upto: int | None
) -> tuple[Network, int | None]:
    """Return the network in a checkpoint or .weights file, and how many layers the file contains (None: all)."""
    if not is_container(source):
        if cfg is None:
            raise ConfigError(f"{os.fspath(source)}: a .weights file does not name its network: expected cfg as well")
        return loading.load(cfg, source, dialect=dialect, upto=upto), upto
    if upto is None:
        loaded = checkpoint.load(source)
        if loaded.cfg:
            sections = cfg_.loads(loaded.cfg, os.fspath(source)).sections[1:]
            upto = loaded.layers if loaded.layers < len(sections) else None
    if cfg is not None:
        return loading.load(cfg, source, dialect=dialect, upto=upto), upto
    return loading.load(source, dialect=dialect, upto=upto), upto


def _load_by_order(source: StrPath, cfg: StrPath | None, dialect: Dialect | str | None) -> Network:
    if cfg is None or not is_container(source):
        raise ConfigError(f"{os.fspath(source)}: by_order: expected a .pt or .safetensors state dict, and the cfg")
    network = loading.load(cfg, dialect=dialect)
    path = os.fspath(source)
    content = read(source)
    own = own_state_dict(content, path)
    if own:
        return checkpoint.fill(network, checkpoint.Checkpoint(own, ""), path)
    state = find_state_dict(content, path)
    return layout.fill_by_order(network, state, path, ordered=not is_safetensors(source))


def _library_cfg(library: str) -> StrPath:
    return catalogue.cfg_folder() / f"{library_networks.find(library).name}.cfg"


def _load_by_name(source: StrPath, cfg: StrPath, dialect: Dialect | str | None, library: str) -> Network:
    path = os.fspath(source)
    if not is_container(source):
        raise ConfigError(f"{path}: from_library: expected a .pt, .pth or .safetensors file")
    network = Network(cfg_.load(cfg), dialect=dialect or Dialect.ALEXEYAB)
    return fill_by_name(network, find_state_dict(read(source), path), library_networks.find(library), path)


def _write_state_dict(network: Network, target: StrPath, library: str, allow_non_finite: bool) -> None:
    state = library_state_dict(network, library_networks.find(library))
    if not allow_non_finite:
        require_finite(stored(network), network.config.path)
    write(target, {"state_dict": state} if is_safetensors(target) else state)


def _write_cfg(network: Network, path: StrPath) -> None:
    text = network.config.text or cfg_.dumps(network.config)
    with atomic_write(path, error=ConfigError) as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))
