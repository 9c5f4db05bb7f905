"""``[logistic]``: pjreddie's logistic output with a cross-entropy loss."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, section


@section("logistic")
class Logistic(Layer):
    """Each number by itself, unlike ``[softmax]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept, values in 0..1."""
        return torch.sigmoid(x)
