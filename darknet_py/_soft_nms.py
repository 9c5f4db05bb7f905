"""Soft-NMS and weighted boxes fusion: one step for each box of a class, for all classes and other boxes at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Overlap = Callable[[Tensor, Tensor], Tensor]


def soft_nms(
    boxes: Tensor,
    classes: Tensor,
    scores: Tensor,
    overlap: Overlap,
    decay: Callable[[Tensor], Tensor],
    min_score: float,
) -> Tensor:
    """Lower the scores of boxes that overlap better ones of their class (https://arxiv.org/abs/1704.04503).

    The box with the highest score is taken, and the scores of all others that are left are multiplied by a factor; and
    so on with the box that has the highest score then.

    Args:
        boxes: float [n, 4].
        classes: int64 [n], class of each box.
        scores: float [n], above 0.
        overlap: the measure of two tensors of boxes, which broadcast.
        decay: the factor for an overlap.
        min_score: scores that are not above it become 0, 0 or more.

    Returns:
        The new scores, float [n].
    """
    device = boxes.device
    boxes, classes, scores = boxes.cpu(), classes.cpu(), scores.cpu()  # steps depend on each other's results
    table, exists = _by_class(classes, scores)
    boxes, left = boxes[table], exists.clone()
    current = torch.where(exists, scores[table], 0)
    for _ in range(table.shape[1]):
        best, index = torch.where(left, current, -1).max(dim=1, keepdim=True)
        if not bool((best > min_score).any()):
            break
        left.scatter_(1, index, False)
        chosen = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        current = torch.where(left & (best > min_score), current * decay(overlap(chosen, boxes)), current)
    lowered = torch.zeros_like(scores)
    lowered[table[exists]] = current[exists]
    return torch.where(lowered > min_score, lowered, 0).to(device)


def fuse_boxes(
    boxes: Tensor, classes: Tensor, scores: Tensor, threshold: float, overlap: Overlap
) -> tuple[Tensor, Tensor, Tensor]:
    """Fuse the boxes of one object to their mean (weighted boxes fusion of one model, https://arxiv.org/abs/1910.13302).

    In the order of the scores a box joins the fused box of its class that it overlaps most, if that is more than the
    threshold, or starts another one. A fused box is the mean of its boxes, weighted by their scores; its score is the
    mean of theirs.

    Args:
        boxes: float [n, 4].
        classes: int64 [n], class of each box.
        scores: float [n], above 0.
        threshold: overlap above which boxes are fused, 0..1.
        overlap: the measure of two tensors of boxes, which broadcast.

    Returns:
        The fused boxes, float [m, 4], their scores, float [m], and for each the number of its best box, int64 [m].
    """
    device, dtype = boxes.device, boxes.dtype
    boxes, classes, scores = boxes.cpu(), classes.cpu(), scores.cpu()  # steps depend on each other's results
    table, exists = _by_class(classes, scores)
    rows = torch.arange(len(table), device=table.device)
    weights = torch.where(exists, scores[table], 0).double()
    values = boxes[table].double()
    sums = torch.zeros_like(values)
    totals, counts = torch.zeros_like(weights), torch.zeros_like(weights)
    best = torch.zeros_like(table)
    used = torch.zeros_like(rows)
    for step in range(table.shape[1]):
        active = exists[:, step]
        fused = sums / totals.clamp(min=1e-300)[..., None]
        shared = torch.where(counts > 0, overlap(values[:, step : step + 1], fused), -1)
        most, slot = shared.max(dim=1)
        is_new = active & ~(most > threshold)
        slot = torch.where(is_new, used.clamp(max=table.shape[1] - 1), slot)
        best[rows, slot] = torch.where(is_new, table[:, step], best[rows, slot])
        weight = torch.where(active, weights[:, step], 0)
        sums[rows, slot] += weight[:, None] * values[:, step]
        totals[rows, slot] += weight
        counts[rows, slot] += active
        used += is_new
    filled = counts > 0
    means = sums[filled] / totals[filled][:, None]
    return means.to(device, dtype), (totals[filled] / counts[filled]).to(device, dtype), best[filled].to(device)


def _by_class(classes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Sort boxes by class and descending score.

    Returns:
        int64 [classes that occur, k], the numbers of their boxes, and bool, whether an entry is one.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[classes[order].argsort(stable=True)]
    _, row, counts = classes[order].unique_consecutive(return_inverse=True, return_counts=True)
    column = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[row]
    shape = len(counts), int(counts.max()) if len(counts) else 0
    table = torch.zeros(shape, dtype=torch.int64, device=order.device)
    exists = torch.zeros(shape, dtype=torch.bool, device=order.device)
    table[row, column] = order
    exists[row, column] = True
    return table, exists
