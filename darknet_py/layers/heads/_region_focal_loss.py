"""The focal loss of objectness and classes of ``[region]``, which Darknet does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ._extended_losses import FocalLossOptions
from ._region_predictions import RegionTargets

_MIN_PROB = 1e-30  # of a softmax, for the logarithm


@dataclass(frozen=True, kw_only=True)
class RegionFocalLoss:
    """alpha_t (1 - p_t)**gamma times the cross-entropy, of logits [rows, 1 + classes]: objectness, then classes.

    A softmax has no negatives: the loss is that of the target class, in a tree of each class on the target's path.

    Attributes:
        options: the keys.
        class_scores: computes probabilities, float [rows, classes], from logits.
        softmax: whether they are those of a softmax or of a tree instead of sigmoids.
    """

    options: FocalLossOptions
    class_scores: Callable[[Tensor], Tensor]
    softmax: bool

    def __call__(self, logits: Tensor, targets: RegionTargets) -> Tensor:
        """Sum the loss of all rows."""
        objectness, classes = logits[:, 0], logits[:, 1:]
        losses = self._binary(objectness, targets.objectness, targets.objectness_weights).sum()
        if not self.softmax:
            return losses + self._binary(classes, targets.classes, targets.class_weights).sum()
        probs = self.class_scores(classes)
        weights = targets.class_weights * targets.classes * self.options.focal_factor(probs, targets.classes)
        return losses - (weights * probs.clamp(min=_MIN_PROB).log()).sum()

    def delta(self, logits: Tensor, targets: RegionTargets) -> Tensor:
        """Return minus the derivative by the logits, in their shape."""
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self(leaf, targets), leaf)
        return -gradient

    def _binary(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Compute the loss of sigmoids, elementwise."""
        cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return weights * self.options.focal_factor(torch.sigmoid(logits), targets) * cross_entropy
