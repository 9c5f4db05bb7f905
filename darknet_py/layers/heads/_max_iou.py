"""``max_iou``: the best IoU of each prediction with a ground-truth box, computed in chunks to limit memory."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_PAIRS = 1 << 24  # IoU values of predictions with targets that are held in memory at once


def is_valid(gt_boxes: Tensor, classes: int) -> Tensor:
    """Return the mask [batch, targets] of targets that are not padding and of a class in 0..classes - 1."""
    return (gt_boxes[..., 0] != 0) & (gt_boxes[..., 4] >= 0) & (gt_boxes[..., 4] < classes)


def max_iou(boxes: Tensor, gt_boxes: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Find the target that each prediction overlaps best.

    Args:
        boxes: float [batch, n, 4], (cx, cy, w, h).
        gt_boxes: float [batch, targets, 6], padded with zeros; on the CPU or the device of ``boxes``.
        classes: number of classes; targets of other classes are ignored.

    Returns:
        The best IoU, float [batch * n] (0 where no target overlaps), and the index of its target among those of its
        image, int64 [batch * n].
    """
    batch, count, _ = boxes.shape
    corners = _corners(gt_boxes[..., :4])
    areas = gt_boxes[..., 2] * gt_boxes[..., 3]
    valid = is_valid(gt_boxes, classes).to(areas)
    table = torch.cat((*corners, areas[:, None], valid[:, None]), dim=1)[:, :, None]
    low, high, area, is_target = table.to(boxes.device, non_blocking=True).split((2, 2, 1, 1), dim=1)
    box_low, box_high = (corner[..., None] for corner in _corners(boxes))
    box_area = (boxes[..., 2] * boxes[..., 3])[:, :, None]
    best, target = boxes.new_zeros(batch, count), None
    chunk = max(1, _MAX_PAIRS // max(1, batch * count))
    for start in range(0, gt_boxes.shape[1], chunk):
        part = (..., slice(start, start + chunk))
        sides = torch.minimum(box_high, high[part]).sub_(torch.maximum(box_low, low[part])).clamp_(min=0)
        intersection = sides[:, 0].mul_(sides[:, 1])
        union = box_area + area[part][:, 0] - intersection
        pairs = intersection.div_(union.masked_fill_(intersection == 0, 1)).mul_(is_target[part][:, 0])
        values, index = pairs.max(dim=2)
        target = index if target is None else torch.where(values > best, index + start, target)
        best = torch.maximum(best, values)
    if target is None:
        target = torch.zeros_like(best, dtype=torch.int64)
    return best.flatten(), target.flatten()


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low and the high corner, float [batch, 2, n] each, of boxes [batch, n, 4]."""
    half = boxes[..., 2:] / 2
    return (boxes[..., :2] - half).transpose(1, 2), (boxes[..., :2] + half).transpose(1, 2)
