"""``checkpoint_activations``: gradient checkpointing, by which training needs less memory and a third more time.

Between forward and backward only what layers read is kept; what they made inside (a convolution's result
before its norm and activation) is made anew when backward comes to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..layers import Layer
from ..network import Network


@contextmanager
def checkpoint_activations(network: Network) -> Iterator[None]:
    """Train with less memory inside the block. Layers with a loss or a state of their own stay as they are."""
    changed = [layer for layer in network if _may(layer)]
    for layer in changed:
        layer.forward = _checkpointed(layer, layer.forward)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward


def _may(layer: Layer) -> bool:
    return not layer.has_loss and not layer.stateful and any(True for _ in layer.parameters())


def _checkpointed(layer: Layer, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _as_before(layer, _gathered(layer))

    def run(*inputs: Tensor, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*inputs, **kwargs)
        output: Tensor = checkpoint(
            functools.partial(forward, **kwargs), *inputs, use_reentrant=False, context_fn=contexts
        )
        return output

    return run


def _gathered(layer: Layer) -> list[tuple[dict[str, Any], Any]]:
    """What norms remember of an iteration's earlier mini-batches, and where."""
    return [(vars(module), module.accumulated) for module in layer.modules() if "accumulated" in vars(module)]


@contextmanager
def _as_before(layer: Layer, gathered: list[tuple[dict[str, Any], Any]]) -> Iterator[None]:
    """Run the block with the memory of the first forward; what it moves is put back, as that one has moved it."""
    buffers, now = [(buffer, buffer.clone()) for buffer in layer.buffers()], _gathered(layer)
    try:
        _remember(gathered)
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        _remember(now)


def _remember(gathered: list[tuple[dict[str, Any], Any]]) -> None:
    for attributes, value in gathered:
        attributes["accumulated"] = value
