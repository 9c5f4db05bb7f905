"""``LabelRejection``: drop the deltas of labels that are probably wrong, late in training.

In the last quarter of training, deltas far above the usual size are taken for wrong labels; after
``equidistant_point`` iterations those far below it are dropped too (``yolo_layer.c forward_yolo_layer``). The usual
size is a running average over all heads and mini-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg.net_section import Net

_MOMENTUM = 0.99  # of the running averages
_LIMIT_STEP = 0.01  # by which the limit of the rejected percentage is adjusted


@dataclass
class LabelRejection:
    """Running statistics of the absolute values of nonzero deltas, and the limit that rejects a given percentage."""

    maximum: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    limit: float = 0.0

    def __call__(self, net: Net, iteration: int, delta: Tensor, classes: int) -> Tensor:
        """Set rejected deltas to 0 and update the statistics.

        Args:
            net: The options of [net].
            iteration: Number of updates made.
            delta: A head's deltas, float [rows, 5 + classes].
            classes: Number of classes.

        Returns:
            The deltas to use, of the same shape; ``delta`` itself if nothing can be rejected yet.
        """
        late = net.max_batches * 3 // 4
        by_percentage = bool(net.badlabels_rejection_percentage) and late < iteration
        by_sigmas = bool(net.num_sigmas_reject_badlabels) and late < iteration
        below_minimum = 0 < net.equidistant_point < iteration
        if not (by_percentage or by_sigmas or below_minimum):
            return delta
        progress = (iteration - net.equidistant_point) / max(net.max_batches - net.equidistant_point, 1)
        minimum = self.mean * progress * 1.4
        size = delta.abs()
        nonzero = size[size > 0]
        if len(nonzero) == 0:
            return delta
        self.maximum = _MOMENTUM * (self.maximum or float(nonzero.max())) + (1 - _MOMENTUM) * float(nonzero.max())
        self.mean = _MOMENTUM * self.mean + (1 - _MOMENTUM) * float(nonzero.mean())
        if by_sigmas:
            usual = self.mean + self.deviation * net.num_sigmas_reject_badlabels
            # C takes the deviation of signed deltas from the mean of absolute ones.
            deviation = float((delta[size > 0] - self.mean).square().mean().sqrt())
            self.deviation = _MOMENTUM * self.deviation + (1 - _MOMENTUM) * deviation
            limit = max(usual, self.maximum - (iteration - late) / max(late, 1) * abs(self.maximum - usual))
            delta = torch.where(delta.abs() > limit, 0.0, delta)
            minimum = min(usual, self.mean) * progress
        if by_percentage:
            delta = self._reject_percentage(delta, classes, net.badlabels_rejection_percentage)
        return torch.where(delta.abs() < minimum, 0.0, delta) if below_minimum else delta

    def _reject_percentage(self, delta: Tensor, classes: int, percentage: float) -> Tensor:
        """Reject deltas above the limit, and adjust the limit so that ``percentage`` of all rows is rejected."""
        self.limit = self.limit or self.maximum
        rejected = delta.abs() > self.limit
        rejected_percentage = 100 * float(rejected.sum()) * (classes + 5) / max(int((delta != 0).sum()), 1)
        if rejected_percentage > percentage:
            self.limit += _LIMIT_STEP
        elif self.limit > _LIMIT_STEP:
            self.limit -= _LIMIT_STEP
        return torch.where(rejected, 0.0, delta)
