"""``[reorg3d]``: space to depth."""

from __future__ import annotations

from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from ._rearrange import Rearrange
from .base import Shape, section


@section("reorg3d")
class Reorg3d(Rearrange):
    """``reverse=1`` is not the inverse: it rearranges as for stride**4 times fewer channels (``reorg_cpu``)."""

    def __init__(self, options: Rearrange.Options, x: Shape) -> None:
        super().__init__(options, x)
        if options.reverse and x.channels % options.stride**4:
            raise ValueError(f"expected a multiple of stride ** 4 = {options.stride**4} channels, got {x.channels}")

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, *shape] for ``x`` [batch, channels, height, width]."""
        batch, c, h, w = x.shape
        s = self.options.stride
        if self.options.reverse:
            y = x.reshape(batch, s, s, c // s**4, h * s, w * s).permute(0, 3, 4, 1, 5, 2)
            return y.reshape(batch, self.shape.channels, h * s, w * s)
        y = x.reshape(batch, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(batch, self.shape.channels, h // s, w // s)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Each input channel is ``stride ** 2`` output channels; with ``reverse`` all stay."""
        if self.options.reverse:
            return super().channel_groups(groups, *inputs)
        return inputs[0].repeat(self.options.stride**2)
