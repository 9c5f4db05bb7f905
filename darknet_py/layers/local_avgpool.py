"""``[local_avgpool]``: the mean of a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from ._pooling import Pooling
from .base import section


@section("local_avgpool", "local_avg")
class LocalAvgpool(Pooling):
    """Windows as in ``[maxpool]``; padding is excluded from the mean (``count_include_pad=False``)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each window of ``x`` [batch, channels, height, width]."""
        sums = F.avg_pool2d(self.pad(x, self.strides, 0.0), self.options.size, self.strides)
        inside = self.pad(torch.ones_like(x[:1, :1]), self.strides, 0.0)
        return sums / F.avg_pool2d(inside, self.options.size, self.strides)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input."""
        return inputs[0]
