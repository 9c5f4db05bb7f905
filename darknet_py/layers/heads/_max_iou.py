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
        gt_boxes: float [batch, targets, 6], padded with zeros.
        classes: number of classes; targets of other classes are ignored.

    Returns:
        The best IoU, float [batch * n] (0 where no target overlaps), and the index of its target in
        ``gt_boxes.flatten(0, 1)``, int64 [batch * n].
    """
    batch, count, _ = boxes.shape
    best = boxes.new_zeros(batch, count)
    target = torch.zeros(batch, count, dtype=torch.long, device=boxes.device)
    valid = is_valid(gt_boxes, classes)
    chunk = max(1, _MAX_PAIRS // max(1, batch * count))
    for start in range(0, gt_boxes.shape[1], chunk):
        part = slice(start, start + chunk)
        values, index = _pairwise_iou(boxes, gt_boxes[:, part, :4]).mul_(valid[:, None, part]).max(dim=2)
        target = torch.where(values > best, index + start, target)
        best = torch.maximum(best, values)
    first = torch.arange(batch, device=boxes.device)[:, None] * gt_boxes.shape[1]
    return best.flatten(), (target + first).flatten()


def _pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """``boxes.iou`` of boxes [batch, n, 4] with [batch, m, 4], in place to save memory: [batch, n, m]."""
    sides = []
    for axis in (0, 1):
        p, q = a[:, :, None, axis], b[:, None, :, axis]
        half_p, half_q = a[:, :, None, axis + 2] / 2, b[:, None, :, axis + 2] / 2
        side = torch.minimum(p + half_p, q + half_q).sub_(torch.maximum(p - half_p, q - half_q))
        sides.append(side.clamp_(min=0))
    intersection = sides[0].mul_(sides[1])
    union = (a[..., 2] * a[..., 3])[:, :, None] + (b[..., 2] * b[..., 3])[:, None] - intersection
    return intersection.div_(union.masked_fill_(intersection == 0, 1))
