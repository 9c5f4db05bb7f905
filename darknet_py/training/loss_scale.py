"""``GradScaler``: the factor that keeps half precision's small gradients from vanishing.

``loss_scale=`` of the cfg as it stands, as in Darknet; where the cfg has none (1), a factor that grows while all
goes well and shrinks when a gradient is too large for half precision, which costs that iteration's update.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST = 1024.0
_LARGEST = 2.0**16
_GROWS = 500  # updates in a row without overflow


class GradScaler:
    """``factor`` is what gradients are multiplied by; 1 and never changed unless ``half``."""

    def __init__(self, given: float, *, half: bool) -> None:
        self.fixed = not half or given != 1
        self.factor = 1.0 if not half else given if given != 1 else _FIRST
        self.good = 0

    def undo(self, gradients: list[Tensor]) -> bool:
        """Take the factor out of summed gradients; whether they can be used."""
        if self.factor == 1 and self.fixed:
            return True
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.factor)
        if self.fixed:
            return True
        largest = torch.stack(torch._foreach_norm(gradients, float("inf"))) if gradients else torch.zeros(1)
        fine = bool(largest.isfinite().all())
        self.good = self.good + 1 if fine else 0
        if not fine:
            self.factor = max(self.factor / 2, 1.0)
        elif self.good == _GROWS and self.factor < _LARGEST:
            self.factor, self.good = 2 * self.factor, 0
        return fine
