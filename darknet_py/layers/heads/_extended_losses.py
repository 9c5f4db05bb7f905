"""Losses that Darknet does not have, shared by heads of several sections: the published focal loss, hard negatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cfg import schema
from ...cfg.schema import Conflict, option

_MIN_BASE = 1e-7  # of the power of 1 - p_t, whose derivative is infinite at 0 for exponents below 1


@dataclass(frozen=True, kw_only=True)
class FocalLossOptions(schema.Options):
    """Keys of the focal loss (https://arxiv.org/abs/1708.02002)."""

    focal_gamma: float = option(
        0.0,
        "focal loss of objectness and classes as published: exponent of 1 - p_t",
        train=True,
        min=0,
        max=100,
        extension=True,
    )
    focal_alpha: float = option(
        0.0,
        "weight of positives in the focal loss, 1 - focal_alpha is that of negatives; 0: both 1",
        train=True,
        min=0,
        max=1,
        extension=True,
    )

    @property
    def is_focal(self) -> bool:
        """Whether objectness and classes have the focal loss as published."""
        return bool(self.focal_gamma or self.focal_alpha)

    def focal_factor(self, probs: Tensor, targets: Tensor) -> Tensor:
        """Compute alpha_t (1 - p_t)**gamma, the factor of the cross-entropy, elementwise (equation 5).

        For targets t between 0 and 1, p_t is p t + (1 - p)(1 - t), and alpha_t likewise, as in torchvision.

        Args:
            probs: float, probabilities.
            targets: float, same shape, 0..1.
        """
        alpha = self.focal_alpha
        p_other = probs + targets - 2 * probs * targets  # 1 - p_t
        factor = p_other.clamp(min=_MIN_BASE) ** self.focal_gamma
        return factor * (alpha * targets + (1 - alpha) * (1 - targets)) if alpha else factor

    def focal_conflicts(self, focal_loss: bool) -> Iterator[Conflict]:
        """Yield the conflict with Darknet's ``focal_loss=``, if that is set."""
        if focal_loss and self.is_focal:
            text = "is Darknet's focal loss: expected it without focal_gamma= and focal_alpha="
            yield Conflict("focal_loss", text, stops_training=True)


@dataclass(frozen=True, kw_only=True)
class HardNegativeOptions(schema.Options):
    """The key of hard negative mining (https://arxiv.org/abs/1512.02325, section 2.2)."""

    hard_negatives: float = option(
        0.0,
        "train the objectness of this many negatives per positive of an image, those of the largest loss; 0: of all",
        train=True,
        min=0,
        max=1e6,
        extension=True,
    )

    def drop_easy_negatives(
        self, weights: Tensor, targets: Tensor, losses: Tensor, positives: Tensor, images: int
    ) -> None:
        """Set the weights of negatives to 0 except those of the largest loss in each image; nothing if the key is 0.

        Unlike in SSD, an image without positives counts as one with one.

        Args:
            weights: float [rows], weights of the objectness loss, image by image.
            targets: float [rows], targets of objectness; a row with target 0 that is not a positive is a negative.
            losses: float [rows], 0 or more, numbers that grow with the loss of a negative.
            positives: int64 [n], the positives' rows, on the device or on the CPU.
            images: number of images.
        """
        if not self.hard_negatives:
            return
        is_positive = torch.zeros_like(weights, dtype=torch.bool)
        is_positive.index_fill_(0, positives.to(weights.device, non_blocking=True), 1)
        limits = (is_positive.view(images, -1).sum(dim=1).clamp(min=1) * self.hard_negatives).ceil()
        negative = (targets == 0) & (weights > 0) & ~is_positive
        order = torch.where(negative, losses, -1.0).view(images, -1).argsort(dim=1, descending=True, stable=True)
        rank = torch.arange(order.shape[1], device=order.device)
        kept = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, rank < limits[:, None])
        weights.masked_fill_(negative & ~kept.flatten(), 0.0)
