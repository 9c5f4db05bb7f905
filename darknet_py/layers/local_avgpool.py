"""``[local_avgpool]``: the mean of a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._pooling import Pooling
from .base import section


@section("local_avgpool", "local_avg")
class LocalAvgpool(Pooling):
    """Windows lie as in ``[maxpool]``; cells outside the input count neither in the sum nor in the number."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the windows' means."""
        sums = F.avg_pool2d(self.padded(x, self.strides, 0.0), self.options.size, self.strides)
        inside = self.padded(torch.ones_like(x[:1, :1]), self.strides, 0.0)
        return sums / F.avg_pool2d(inside, self.options.size, self.strides)
