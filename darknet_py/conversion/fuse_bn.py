"""Batch norm worked into weights and biases: another cfg and other weights that give the same outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import cfg as cfg_
from ..cfg import Config
from ..network import Network

_KEYS = ("batch_normalize", "cbn")  # what asks for a norm


def fold(network: Network) -> Network:
    """A network without batch norm in its layers that gives the same outputs, within rounding.

    Its cfg is the given one's text less the lines that ask for batch norm; names, header and size are
    kept. ``[batchnorm]`` sections, which are nothing but norms, stay. The new weights are worked out in
    double precision (``fuse_conv_batchnorm``). The result is for inference: a norm cannot be had back.
    """
    config = _without_norm(network.config)
    shape = network.shape
    size = (shape.width, shape.height) if shape.channels == network.options.channels else None  # else a vector
    folded = Network(config, size=size, dialect=network.dialect)
    folded.version, folded.seen, folded.names = network.version, network.seen, network.names
    state = network.state_dict()
    for path, module in network.named_modules():
        for name, tensor in _folded(module).items():
            state[f"{path}.{name}"] = tensor
    wanted = folded.state_dict().keys()
    folded.load_state_dict({name: tensor for name, tensor in state.items() if name in wanted})
    if (first := next(network.parameters(), None)) is not None:
        folded.to(first.device, first.dtype)
    return folded


def _folded(module: nn.Module) -> dict[str, Tensor]:
    """Weights and biases of a layer that can do without its norm."""
    work: Callable[[], tuple[Tensor, Tensor]] | None = getattr(module, "folded", None)
    if work is None or getattr(module, "norm", None) is None:
        return {}
    with torch.no_grad():
        return dict(zip(("weights", "biases"), work(), strict=True))


def _without_norm(config: Config) -> Config:
    """The text less the lines of ``_KEYS``; where there is no text it is written first."""
    text = config.text or cfg_.dumps(config)
    sections = cfg_.loads(text).sections[1:]
    dropped = {entry.line for section in sections for entry in section.entries if entry.key in _KEYS}
    lines = [line for number, line in enumerate(text.split("\n"), start=1) if number not in dropped]
    read = cfg_.loads("\n".join(lines), config.path)
    return Config(read.sections, config.path, read.text, config.files)
