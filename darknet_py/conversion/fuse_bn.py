"""Fuse batch norm into the weights and biases of the layers before it, for inference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import cfg as cfg_
from ..cfg import Config
from ..network import Network
from ..weights.state_dicts import plain_state_dict

_BATCH_NORM_KEYS = ("batch_normalize", "cbn")


def fuse_batch_norm(network: Network) -> Network:
    """Return a network whose layers have batch norm fused into their weights; outputs are equal up to rounding.

    The weights are computed in float64 as in ``torch.nn.utils.fusion.fuse_conv_bn_weights``. The new cfg is the text of
    the old one without the keys that enable batch norm; class names, header and input size are kept. ``[batchnorm]``
    sections remain. The new network is for inference: the statistics are lost.
    """
    config = _without_batch_norm(network.config)
    shape = network.shape
    size = (shape.width, shape.height) if shape.channels == network.options.channels else None  # None for vectors
    fused = Network(config, size=size, dialect=network.dialect)
    fused.version = network.version
    fused.seen = network.seen
    fused.names = network.names
    state = plain_state_dict(network)
    for path, module in network.named_modules():
        for name, tensor in _fused_weights(module).items():
            state[f"{path}.{name}"] = tensor
    keys = fused.state_dict().keys()
    fused.load_state_dict({name: tensor for name, tensor in state.items() if name in keys})
    if (first := next(network.parameters(), None)) is not None:
        fused.to(first.device, first.dtype)
    return fused


def _fused_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return weights and biases of a layer with batch norm fused into them; empty for other layers."""
    fuse: Callable[[], tuple[Tensor, Tensor]] | None = getattr(module, "fold_norm", None)
    if fuse is None or getattr(module, "norm", None) is None:
        return {}
    with torch.no_grad():
        return dict(zip(("weights", "biases"), fuse(), strict=True))


def _without_batch_norm(config: Config) -> Config:
    """Return the cfg without the keys that enable batch norm; its other lines are unchanged."""
    text = config.text or cfg_.dumps(config)
    sections = cfg_.loads(text).sections[1:]
    removed = {entry.line for section in sections for entry in section.entries if entry.key in _BATCH_NORM_KEYS}
    lines = [line for number, line in enumerate(text.split("\n"), start=1) if number not in removed]
    parsed = cfg_.loads("\n".join(lines), config.path)
    return Config(parsed.sections, config.path, parsed.text, config.files)
