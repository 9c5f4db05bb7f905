"""``GradScaler``: the loss scale that keeps small gradients from underflowing in float16.

``loss_scale=`` of the cfg is used as it is, as in Darknet. Without it (1) the scale is dynamic, as in
``torch.amp.GradScaler``: it grows while gradients stay finite, and halves when one overflows, which skips that
iteration's update.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_INITIAL = 1024.0
_MAXIMUM = 2.0**16
_GROWTH_INTERVAL = 500  # consecutive updates without overflow


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Whether no tensor contains NaN or Inf, as a bool tensor on their device."""
    if not tensors:
        return torch.tensor(True)
    largest = torch._foreach_norm(list(tensors), float("inf"))
    return torch.stack([norm.float() for norm in largest]).isfinite().all()


class GradScaler:
    """Scales gradients for float16.

    Args:
        loss_scale: ``loss_scale=`` of [net]; 1 selects a dynamic scale.
        half: Whether the network computes in float16; otherwise the factor is always 1.

    Attributes:
        factor: What gradients are multiplied by.
    """

    def __init__(self, loss_scale: float, *, half: bool) -> None:
        self.fixed = not half or loss_scale != 1
        self.factor = 1.0
        if half:
            self.factor = loss_scale if loss_scale != 1 else _INITIAL
        self.updates_since_overflow = 0

    def unscale_(self, gradients: list[Tensor], finite: bool) -> bool:
        """Divide summed gradients by the factor, in place, and adjust a dynamic factor.

        Args:
            gradients: The gradients.
            finite: Whether all of them are finite.

        Returns:
            Whether the gradients can be used: False if one of them has overflowed under a dynamic factor.
        """
        if self.factor == 1 and self.fixed:
            return True
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.factor)
        if self.fixed:
            return True
        self.updates_since_overflow = self.updates_since_overflow + 1 if finite else 0
        if not finite:
            self.factor = max(self.factor / 2, 1.0)
        elif self.updates_since_overflow == _GROWTH_INTERVAL and self.factor < _MAXIMUM:
            self.factor *= 2
            self.updates_since_overflow = 0
        return finite
