"""``[avgpool]``: global average pooling."""

from __future__ import annotations

from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from ._window import WHOLE_MAP, Window
from .base import Layer, Shape, section


@section("avgpool", "avg")
class Avgpool(Layer):
    """The mean of every channel, for maps of any size."""

    dtype_agnostic = True

    def __init__(self, options: Layer.Options, x: Shape) -> None:
        super().__init__(options, x)
        self.shape = Shape(x.channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, 1, 1] for ``x`` [batch, channels, height, width]."""
        return x.mean(dim=(2, 3), keepdim=True)

    @property
    def window(self) -> Window:
        """Every cell."""
        return WHOLE_MAP

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input."""
        return inputs[0]
