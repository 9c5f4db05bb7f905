"""``load``: cfg and weights to a network that is ready to run."""

from __future__ import annotations

import torch

from . import cfg as cfg_
from . import weights as weights_
from .cfg import Dialect, Path
from .network import Network


def load(
    cfg: Path,
    weights: Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str = Dialect.ALEXEYAB,
    device: torch.device | str = "cpu",
    strict: bool = False,
    upto: int | None = None,
) -> Network:
    """Build the network of a cfg, fill it from a .weights file and return it in eval mode.

    ``weights``: without them, and for what ``upto`` leaves out, Darknet's random starting values.
    ``size``: width and height of the input in pixels instead of the cfg's. ``strict``: text of the cfg
    that has no effect is an error instead of a warning. ``upto``: the file fills the first so many
    layers alone (a backbone such as yolov4.conv.137). Raises ConfigError and WeightsError.
    """
    network = Network(cfg_.load(cfg), size=size, dialect=dialect, strict=strict)
    if weights is None or upto is not None or any(_unread(layer.options) for layer in network):
        network.initialise()
    if weights is not None:
        weights_.load(network, weights, upto=upto)
    return network.to(device)


def _unread(options: object) -> bool:
    """Whether a file does not fill the layer."""
    return any(getattr(options, key) for key in ("dontload", "dontloadscales", "numload"))
