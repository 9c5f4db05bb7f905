"""``[l2norm]``: L2 normalisation over the channels (pjreddie)."""

from __future__ import annotations

from torch import Tensor

from .base import Layer, section


@section("l2norm")
class L2norm(Layer):
    """x / sqrt(sum of x^2) per cell; 0 / 0 is NaN, as in C."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]; same shape."""
        return x / x.square().sum(dim=1, keepdim=True).sqrt()
