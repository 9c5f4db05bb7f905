"""``[empty]``: a layer that does nothing."""

from __future__ import annotations

from torch import Tensor

from .base import Layer, section


@section("empty", "silence")
class Empty(Layer):
    """Counts as a layer and passes its input on."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x
