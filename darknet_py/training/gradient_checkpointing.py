"""``checkpoint_activations``: gradient checkpointing, with which training needs less memory and a third more time.

Between the forward and the backward pass only the layers' inputs are kept; what a layer computes inside (a
convolution's result before batch norm and activation) is recomputed in the backward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..layers import Layer, is_window
from ..network import Network

Statistics = list[tuple[dict[str, Any], Any]]  # attributes of a norm, and the value of "accumulated" in them


@contextmanager
def checkpoint_activations(network: Network) -> Iterator[None]:
    """Recompute activations in backward passes inside the block.

    Layers with a loss, a recurrent state or statistics of earlier mini-batches, and layers without parameters, are left
    as they are.
    """
    layers = [layer for layer in network if _can_checkpoint(layer)]
    for layer in layers:
        layer.forward = _checkpointed_forward(layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _can_checkpoint(layer: Layer) -> bool:
    if layer.has_loss or layer.stateful or any(is_window(name) for name, _ in layer.named_buffers()):
        return False
    return any(True for _ in layer.parameters())


def _checkpointed_forward(layer: Layer, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def make_contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _restored_statistics(layer, _statistics(layer))

    def run(*inputs: Tensor, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*inputs, **kwargs)
        output: Tensor = checkpoint(
            functools.partial(forward, **kwargs), *inputs, use_reentrant=False, context_fn=make_contexts
        )
        return output

    return run


def _statistics(layer: Layer) -> Statistics:
    """Statistics that norms have accumulated over the iteration's earlier mini-batches (batch_normalize=2)."""
    return [(vars(module), module.accumulated) for module in layer.modules() if "accumulated" in vars(module)]


@contextmanager
def _restored_statistics(layer: Layer, before_forward: Statistics) -> Iterator[None]:
    """Run the recomputation from the statistics before the first forward pass, and undo what it changes."""
    buffers = [(buffer, buffer.clone()) for buffer in layer.buffers()]
    now = _statistics(layer)
    try:
        _restore(before_forward)
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        _restore(now)


def _restore(statistics: Statistics) -> None:
    for attributes, value in statistics:
        attributes["accumulated"] = value
