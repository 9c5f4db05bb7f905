"""Remember the values that a module was initialised with, to tell later which it still has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

_SAMPLE = 8  # values of a tensor: enough to tell random ones from any others


def sample(module: nn.Module) -> dict[str, Tensor]:
    """Return the first values of each tensor of a module, by name, without tensors of one repeated value."""
    samples = {}
    for name, tensor in module.state_dict().items():
        first = tensor.flatten()[:_SAMPLE].clone()
        if first.numel() and bool((first != first[0]).any()):
            samples[name] = first
    return samples


def unchanged(module: nn.Module, samples: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the names of the tensors that have the sampled values, whatever precision and device they have."""
    state = module.state_dict()
    for name, first in samples.items():
        tensor = state.get(name)
        if tensor is not None and torch.equal(tensor.flatten()[:_SAMPLE].cpu(), first.cpu().to(tensor.dtype)):
            yield name
