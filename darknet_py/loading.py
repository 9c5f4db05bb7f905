"""``load`` and ``save``: a network from its files and back, whatever kind they are."""

from __future__ import annotations

import os

import torch

from . import cfg as cfg_
from . import weights as weights_
from ._typing import StrPath
from .cfg import Dialect
from .data import data_file
from .errors import WeightsError
from .hub import model_files
from .network import Network
from .weights import checkpoint
from .weights.containers import is_container


def load(
    cfg: StrPath,
    weights: StrPath | None = None,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    device: torch.device | str = "cpu",
    strict: bool = False,
    upto: int | None = None,
) -> Network:
    """Build a network, fill it and return it in eval mode.

    ``cfg``: the text of the network, a checkpoint (.pt or .safetensors of ``save``) that carries text
    and weights, or a name of the catalogue, whose weights are fetched once. ``weights``: a .weights file
    or a checkpoint; without any, and for what ``upto`` leaves out, Darknet's random starting values.
    ``size``: width and height of the input in pixels instead of the cfg's. ``dialect``: ``alexeyab`` or
    ``pjreddie``; None: a checkpoint's own, else AlexeyAB's. ``strict``: text of the cfg that has no
    effect is an error instead of a warning. ``upto``: the file fills the first so many layers alone (a
    backbone such as yolov4.conv.137). Raises ConfigError and WeightsError.
    """
    held: checkpoint.Checkpoint | None = None
    names: tuple[str, ...] = ()
    if model_files.is_name(cfg):
        model = model_files.find(cfg, weights)
        cfg, weights = model.cfg, model.weights
        names = data_file.read_names(model.names) if model.names else ()
    if is_container(cfg):
        if weights is not None:
            raise WeightsError(f"{os.fspath(cfg)}: carries its own weights: expected it alone, or a cfg with {weights}")
        held, weights = checkpoint.load(cfg), cfg
        network = checkpoint.build(held, cfg, size=size, dialect=dialect, strict=strict)
    else:
        if weights is not None and is_container(weights):
            held = checkpoint.load(weights)
            dialect = dialect or held.dialect
        network = Network(cfg_.load(cfg), size=size, dialect=dialect or Dialect.ALEXEYAB, strict=strict)
    if weights is None or upto is not None or any(_unread(layer.options) for layer in network):
        network.initialise()
    if held is not None and weights is not None:
        checkpoint.fill(network, held, weights, upto=upto)
    elif weights is not None:
        weights_.load(network, weights, upto=upto)
    network.names = network.names or names
    return network.to(device)


def save(network: Network, path: StrPath, *, upto: int | None = None) -> None:
    """Write a network, whole or not at all, as the suffix says: .pt, .safetensors, anything else .weights.

    ``upto``: the first so many layers alone. Raises WeightsError.
    """
    if is_container(path):
        checkpoint.save(network, path, upto=upto)
    else:
        weights_.save(network, path, upto=upto)


def _unread(options: object) -> bool:
    """Whether a file does not fill the layer."""
    return any(getattr(options, key) for key in ("dontload", "dontloadscales", "numload"))
