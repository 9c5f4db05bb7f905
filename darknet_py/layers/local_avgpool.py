"""``[local_avgpool]``: the mean of a window, or of the channels at one position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._pooling import Pooling
from ._window import Window
from .base import Shape, section


@section("local_avgpool", "local_avg")
class LocalAvgpool(Pooling):
    """Windows as in ``[maxpool]``; padding is excluded from the mean (``count_include_pad=False``)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Pooling.Options):
        """Keys of ``parse_local_avgpool``, and ``avgpool_depth``, which is to the mean what ``maxpool_depth`` is."""

        avgpool_depth: bool = option(False, "the mean over all channels instead of windows", extension=True)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.channels = x.channels
        if options.avgpool_depth:
            self.shape = x._replace(channels=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of ``x`` [batch, channels, height, width]."""
        if self.options.avgpool_depth:
            return x.mean(dim=1, keepdim=True)
        sums = F.avg_pool2d(self.pad(x, self.strides, 0.0), self.options.size, self.strides)
        inside = self.pad(torch.ones_like(x[:1, :1]), self.strides, 0.0)
        return sums / F.avg_pool2d(inside, self.options.size, self.strides)

    @property
    def window(self) -> Window:
        """The window, or one cell where the mean is over channels."""
        return Window() if self.options.avgpool_depth else super().window

    @property
    def flops(self) -> float:
        """One for each element of each window, or for each channel and position."""
        return float(self.channels * self.shape.floats) if self.options.avgpool_depth else super().flops

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, unless the mean is over channels, which stay."""
        return super().channel_groups(groups, *inputs) if self.options.avgpool_depth else inputs[0]

    def describe(self) -> str:
        """Window and stride, or the number of channels."""
        return "depth 1" if self.options.avgpool_depth else super().describe()
