"""``[logistic]``: sigmoid with binary cross-entropy loss (pjreddie)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._context import StepContext
from ._loss import Loss
from .base import Layer, section


@section("logistic")
class Logistic(Layer):
    """Each output is an independent probability, unlike ``[softmax]``."""

    has_loss = True
    reads_vectors = True

    def forward(self, x: Tensor) -> Tensor:
        """Return ``sigmoid(x)``, same shape."""
        return torch.sigmoid(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the binary cross-entropy, summed; ``targets``: float in 0..1, as many values as ``x``."""
        targets = targets.to(x).view_as(x)
        value = F.binary_cross_entropy_with_logits(x, targets, reduction="sum")
        return Loss(value.detach(), targets - output.detach(), value)
