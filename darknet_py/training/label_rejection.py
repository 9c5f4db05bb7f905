"""Labels that training does not believe: which of a head's deltas are dropped late in training.

After three quarters of training deltas far above the usual are taken for wrong labels; beyond
``equidistant_point`` those far below it are dropped too (``yolo_layer.c forward_yolo_layer``). What is usual is a
rolling figure over all heads and mini-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg.net_section import Net

_KEPT = 0.99  # of a rolling figure
_STEP = 0.01  # by which the limit of the rejected share moves


@dataclass
class LabelRejection:
    """Rolling figures of the absolute deltas that are not 0, and the limit that rejects a given share."""

    most: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    limit: float = 0.0

    def __call__(self, net: Net, iteration: int, delta: Tensor, classes: int) -> Tensor:
        """``delta`` without what is rejected, in the iteration after ``iteration`` updates."""
        late = net.max_batches * 3 // 4
        shared = bool(net.badlabels_rejection_percentage) and late < iteration
        outliers = bool(net.num_sigmas_reject_badlabels) and late < iteration
        small = 0 < net.equidistant_point < iteration
        if not (shared or outliers or small):
            return delta
        progress = (iteration - net.equidistant_point) / max(net.max_batches - net.equidistant_point, 1)
        least = self.mean * progress * 1.4
        size = delta.abs()
        nonzero = size[size > 0]
        if len(nonzero) == 0:
            return delta
        self.most = _KEPT * (self.most or float(nonzero.max())) + (1 - _KEPT) * float(nonzero.max())
        self.mean = _KEPT * self.mean + (1 - _KEPT) * float(nonzero.mean())
        if outliers:
            usual = self.mean + self.deviation * net.num_sigmas_reject_badlabels
            # C takes the deviation of signed deltas from the mean of absolute ones.
            spread = float((delta[size > 0] - self.mean).square().mean().sqrt())
            self.deviation = _KEPT * self.deviation + (1 - _KEPT) * spread
            limit = max(usual, self.most - (iteration - late) / max(late, 1) * abs(self.most - usual))
            delta = torch.where(delta.abs() > limit, 0.0, delta)
            least = min(usual, self.mean) * progress
        if shared:
            delta = self._share(delta, classes, net.badlabels_rejection_percentage)
        return torch.where(delta.abs() < least, 0.0, delta) if small else delta

    def _share(self, delta: Tensor, classes: int, percentage: float) -> Tensor:
        """Reject what is above the limit, and move the limit towards ``percentage`` of all rows."""
        self.limit = self.limit or self.most
        rejected = delta.abs() > self.limit
        share = 100 * float(rejected.sum()) * (classes + 5) / max(int((delta != 0).sum()), 1)
        if share > percentage:
            self.limit += _STEP
        elif self.limit > _STEP:
            self.limit -= _STEP
        return torch.where(rejected, 0.0, delta)
