"""``[logistic]``: pjreddie's logistic output with a cross-entropy loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._context import StepContext
from ._loss import Loss
from .base import Layer, section


@section("logistic")
class Logistic(Layer):
    """Each number by itself, unlike ``[softmax]``."""

    has_loss = True

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept, values in 0..1."""
        return torch.sigmoid(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths of the input's shape: cross-entropy."""
        targets = targets.to(x).view_as(x)
        value = F.binary_cross_entropy_with_logits(x, targets, reduction="sum")
        return Loss(value.detach(), targets - output.detach(), value)
