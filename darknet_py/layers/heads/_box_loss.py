"""``iou_loss=``: the losses of boxes, Darknet's and others."""

from __future__ import annotations

import enum
from math import log

import torch
from torch import Tensor

from ...boxes import iou, xywh_to_xyxy
from ._iou import IoULoss, iou_by_kind

_SMALL_IOU = 0.01  # below it, -ln(IoU) is continued by its tangent


class BoxLoss(enum.StrEnum):
    """Values of ``iou_loss=``; the last three are not Darknet's, which takes iou instead."""

    MSE = "mse"
    IOU = "iou"
    GIOU = "giou"
    DIOU = "diou"
    CIOU = "ciou"
    EIOU = "eiou"
    LOG_IOU = "log_iou"
    L1 = "l1"

    @property
    def is_darknets(self) -> bool:
        """Whether Darknet has it, with a gradient of its own."""
        return self not in (BoxLoss.EIOU, BoxLoss.LOG_IOU, BoxLoss.L1)

    @property
    def measure(self) -> IoULoss:
        """The kind of IoU that a loss of Darknet's compares boxes by."""
        return IoULoss(self)

    def compute(self, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor) -> Tensor:
        """Compute the loss of boxes.

        * ``mse`` and ``l1``: the sum of squares, halved, or of absolute values of the residuals, times 2 - w * h.
        * ``iou``, ``giou``, ``diou``, ``ciou``: 1 - IoU of the kind, see ``iou_by_kind``.
        * ``eiou``: 1 - IoU + d**2 / c**2 + (w - w_t)**2 / w_c**2 + (h - h_t)**2 / h_c**2, with d the distance of the
          centres and w_c, h_c, c the sides and the diagonal of the enclosing box (https://arxiv.org/abs/2101.08158).
        * ``log_iou``: -ln(IoU) (UnitBox, https://arxiv.org/abs/1608.01471). Below an IoU of 0.01 its tangent there:
          -ln(0.01) + 1 - IoU / 0.01, which is 5.6 for disjoint boxes. These get no gradient, as by ``iou``.

        Args:
            boxes: predicted boxes, float [n, 4], (cx, cy, w, h).
            gt_boxes: their targets, float [n, 4].
            residuals: encoded target minus output of x, y, w, h, float [n, 4].

        Returns:
            float [n], at least 0.
        """
        if self is BoxLoss.MSE:
            return (area_weights(gt_boxes) * residuals.square()).sum(dim=1) / 2
        if self is BoxLoss.L1:
            return (area_weights(gt_boxes) * residuals.abs()).sum(dim=1)
        if self is BoxLoss.EIOU:
            return 1 - iou(boxes, gt_boxes) + _eiou_penalty(boxes, gt_boxes)
        if self is BoxLoss.LOG_IOU:
            overlap = iou(boxes, gt_boxes)
            tangent = 1 - log(_SMALL_IOU) - overlap / _SMALL_IOU
            return torch.where(overlap < _SMALL_IOU, tangent, -overlap.clamp(min=_SMALL_IOU).log())
        return 1 - iou_by_kind(boxes, gt_boxes, self.measure)


def _eiou_penalty(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """The terms of EIoU that are added to 1 - IoU, float [n]."""
    a, b = xywh_to_xyxy(boxes), xywh_to_xyxy(gt_boxes)
    sides = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).square()
    centre, size = ((one - other).square() for one, other in zip(boxes.split(2, 1), gt_boxes.split(2, 1), strict=True))
    penalty: Tensor = centre.sum(dim=1) / sides.sum(dim=1) + (size / sides).sum(dim=1)
    return penalty


def area_weights(gt_boxes: Tensor) -> Tensor:
    """Return weights 2 - w * h, float [n, 1], of boxes float [n, 4]: small objects count up to twice as much."""
    weights: Tensor = 2 - gt_boxes[:, 2:].prod(dim=1, keepdim=True)
    return weights
