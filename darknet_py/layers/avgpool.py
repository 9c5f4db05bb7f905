"""``[avgpool]``: the mean of every channel."""

from __future__ import annotations

from torch import Tensor

from .base import Layer, Shape, section


@section("avgpool", "avg")
class Avgpool(Layer):
    """Takes the whole map whatever its size."""

    dtype_agnostic = True

    def __init__(self, options: Layer.Options, x: Shape) -> None:
        super().__init__(options, x)
        self.shape = Shape(x.channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, channels, 1, 1]."""
        return x.mean(dim=(2, 3), keepdim=True)
