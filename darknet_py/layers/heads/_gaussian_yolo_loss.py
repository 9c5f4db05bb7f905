"""The box loss of ``[Gaussian_yolo]`` (``delta_gaussian_yolo_box`` in C)."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from ._anchor_loss import AnchorLoss
from ._assignment import AssignmentRules
from ._box_loss import BoxLoss, area_weights
from ._iou import IoULoss, darknet_iou_gradient, iou_by_kind

_SIGMA_OFFSET = 0.3
_EPSILON = 1e-9

GAUSSIAN_RULES = AssignmentRules(
    smooth_classes=True, squared_iou=True, keep_smooth_objectness=False, adversarial_boxes=False
)


@dataclass(frozen=True, kw_only=True)
class GaussianYoloLoss(AnchorLoss):
    """Negative log-likelihood of each coordinate under a normal distribution (https://arxiv.org/abs/1904.04620).

    A row is (x, sigma x, y, sigma y, w, sigma w, h, sigma h, objectness, class scores).

    Attributes:
        offset: see ``BoxCoder``.
        uc_normalizer: weight of the standard deviations' loss.
    """

    box_entries = 8
    box_columns = slice(0, 8, 2)
    rejects_labels = False

    rules: AssignmentRules = GAUSSIAN_RULES
    offset: float = 0.0
    uc_normalizer: float = 1.0

    def box_delta(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute ``delta_gaussian_yolo_box``: the derivatives of the sigmoids are left out."""
        sigma = rows[:, 1:8:2]
        density = _density(residuals, sigma)
        scale = area_weights(gt_boxes) / 2 * density / (density + _EPSILON)
        d_box = scale * residuals / sigma.square()
        d_sigma = scale * (residuals.square() / sigma**3 - 1 / (sigma + _SIGMA_OFFSET)) * self.uc_normalizer
        if self.options.iou_loss is not BoxLoss.MSE:
            gradient = darknet_iou_gradient(boxes, gt_boxes, self.options.iou_loss.measure)
            centre = gradient[:, :2] - gradient[:, 2:] * self.offset
            d_box = torch.cat((centre, gradient[:, 2:] * rows[:, 4:8:2].exp()), dim=1)
        delta = torch.stack((d_box * weights[:, None], d_sigma), dim=2).flatten(1)
        return torch.nan_to_num(delta, 0.0, 0.0, 0.0).clamp(-self.options.max_delta, self.options.max_delta)

    def box_loss(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute ``-log(density)``, or ``iou_loss`` for the coordinates.

        Coordinates and deviations have separate weights, so each term is differentiated with the other held constant.
        """
        sigma = rows[:, 1:8:2]
        scale = area_weights(gt_boxes)[:, 0] / 2
        sigma_loss = -(_density(residuals.detach(), sigma) + _EPSILON).log().sum(dim=1) * scale
        if self.options.iou_loss is BoxLoss.MSE:
            box_loss = -(_density(residuals, sigma.detach()) + _EPSILON).log().sum(dim=1) * scale
        else:
            box_loss = self.options.iou_loss.compute(boxes, gt_boxes, residuals)
        return weights * box_loss + self.uc_normalizer * sigma_loss

    def box_divisor(self, objectness_delta: Tensor, class_delta: Tensor) -> Tensor:
        """Return the number of classes whose score is raised, at least 1."""
        return (class_delta > 0).sum(dim=1).clamp(min=1).to(class_delta)

    def cost(self, delta: Tensor, boxes: Tensor, gt_boxes: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute ``sum(delta ** 2)``."""
        total = delta.square().sum()
        others = delta[:, 8:].square().sum()
        uncertainty = delta[:, 4:8].square().sum()  # entries 4 to 7, as in Darknet, though sigmas are the odd ones
        iou = iou_by_kind(boxes, gt_boxes, IoULoss.IOU)
        parts = {"iou": iou.sum() / max(1, len(boxes)), "count": torch.tensor(float(len(boxes)))}
        parts |= {"class": others / batch, "box": (total - others - uncertainty) / batch}
        return total, parts | {"uncertainty": uncertainty / batch, "total": total / batch}


def _density(residuals: Tensor, sigma: Tensor) -> Tensor:
    """Normal density of residuals [n, 4]; 0.3 is added to sigma in the factor, but not in the exponent."""
    return (-(residuals / sigma).square() / 2).exp() / (sqrt(2 * pi) * (sigma + _SIGMA_OFFSET))
