"""The box loss of ``[yolo]`` (``delta_yolo_box`` and ``forward_yolo_layer`` in C)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._anchor_loss import AnchorLoss
from ._box_loss import BoxLoss, area_weights
from ._iou import IoULoss, darknet_iou_gradient, iou_by_kind


@dataclass(frozen=True, kw_only=True)
class YoloLoss(AnchorLoss):
    """The loss of YOLOv3 (https://arxiv.org/abs/1804.02767) with the IoU losses of YOLOv4.

    Attributes:
        show_details: whether the cost of an IoU loss is the mean of ``1 - IoU`` (``show_details=1``).
    """

    show_details: bool = True

    def box_delta(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute ``delta_yolo_box``: the derivatives of sigmoid, ``scale_x_y`` and squared sizes are left out."""
        if self.options.iou_loss is BoxLoss.MSE:
            return area_weights(gt_boxes) * weights[:, None] * residuals
        gradient = darknet_iou_gradient(boxes, gt_boxes, self.options.iou_loss.measure)
        if not self.inputs_are_probabilities:
            gradient = torch.cat((gradient[:, :2], gradient[:, 2:] * rows[:, 2:4].exp()), dim=1)
        gradient = torch.nan_to_num(gradient * weights[:, None], 0.0, 0.0, 0.0)
        return gradient.clamp(-self.options.max_delta, self.options.max_delta)

    def box_loss(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute ``iou_loss``."""
        return weights * self.options.iou_loss.compute(boxes, gt_boxes, residuals)

    def box_divisor(self, objectness_delta: Tensor, class_delta: Tensor) -> Tensor | None:
        """Return the number of raised classes where ``iou_thresh`` assigns several anchors to a target, otherwise 1."""
        if self.options.iou_thresh >= 1:
            return None
        count = (class_delta > 0).sum(dim=1).clamp(min=1).to(class_delta)
        return count.masked_fill_(objectness_delta == 0, 1.0)

    def cost(self, delta: Tensor, boxes: Tensor, gt_boxes: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute ``sum(delta ** 2)``; with an IoU loss, the boxes contribute the mean of ``1 - IoU`` instead."""
        options = self.options
        count = max(1, len(boxes))
        total = delta.square().sum()
        others = options.obj_normalizer * delta[:, 4:].square().sum()
        iou = iou_by_kind(boxes, gt_boxes, IoULoss.IOU)
        cost = total
        if self.show_details and options.iou_loss not in (BoxLoss.MSE, BoxLoss.L1):
            giou = options.iou_loss is BoxLoss.GIOU
            similarity = iou_by_kind(boxes, gt_boxes, IoULoss.GIOU) if giou else iou
            cost = options.iou_normalizer * (1 - similarity).sum() / count + others
        parts = {"iou": iou.sum() / count, "count": torch.tensor(float(len(boxes)))}
        parts |= {"class": others / batch, "box": (total - others) / batch, "total": total / batch}
        return cost, parts
