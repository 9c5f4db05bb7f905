"""``[l2norm]``: pjreddie's unit vectors over the channels."""

from __future__ import annotations

from torch import Tensor

from .base import Layer, section


@section("l2norm")
class L2norm(Layer):
    """x / sqrt(sum of squares) per place; nothing keeps a place of zeros from 0 / 0, as in C."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x / x.square().sum(dim=1, keepdim=True).sqrt()
