"""Greedy non-maximum suppression that compares only boxes which can overlap enough.

The boxes are processed in blocks by descending score: first against the boxes that are kept so far, then within the
block. In both steps the boxes near a box are found by their order along one axis, so that time and memory grow with
the number of neighbours and not with the square of the number of boxes. Of a few boxes all pairs are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_FEW = 100  # boxes
_FIRST_BLOCK = 256  # boxes; each block is twice as large as the one before, up to the last size
_LAST_BLOCK = 8192
_PAIRS = 1 << 18  # pairs whose overlaps are in memory at once
_RELATIVE_SIDE = 1.2e-5  # of the largest coordinate: rounding changes longer sides by less than 2 %

Overlap = Callable[[Tensor, Tensor], Tensor]


def greedy_nms(boxes: Tensor, classes: Tensor, threshold: float, overlap: Overlap) -> Tensor:
    """Apply greedy non-maximum suppression within each class.

    Args:
        boxes: float [n, 4], (cx, cy, w, h), highest score first.
        classes: int64 [n], class of each box.
        threshold: overlap above which the later of two boxes of a class is suppressed, 0..1.
        overlap: the measure of two tensors of boxes [m, 4], at most their IoU.

    Returns:
        bool [n], whether each box is kept. It is computed on the CPU, as the steps depend on each other's results.
    """
    device = boxes.device
    boxes, classes = boxes.cpu(), classes.cpu()
    keep = torch.zeros(len(boxes), dtype=torch.bool)
    if not len(boxes):
        return keep.to(device)
    neighbours = _AllPairs(classes) if len(boxes) <= _FEW else _Neighbours(boxes, classes, threshold)
    columns = boxes.t().contiguous()

    def overlaps(first: Tensor, second: Tensor) -> Tensor:
        return overlap(columns[:, first].t(), columns[:, second].t()) > threshold

    kept: list[Tensor] = []
    start, size = 0, _FIRST_BLOCK
    while start < len(boxes):
        block = torch.arange(start, min(start + size, len(boxes)))
        free = torch.ones_like(block, dtype=torch.bool)
        for first, second in neighbours.pairs(torch.cat(kept), block) if kept else ():
            free[second[overlaps(first, second)] - start] = False
        block = block[free]
        edges = []
        for first, second in neighbours.pairs(block, block):
            first, second = first[is_earlier := first < second], second[is_earlier]
            suppresses = overlaps(first, second)
            edges.append((first[suppresses] - start, second[suppresses] - start))
        if edges:
            first, second = map(torch.cat, zip(*edges, strict=True))
            block = block[_resolve(free, first, second)[free]]
        keep[block] = True
        kept.append(block)
        start, size = start + size, min(2 * size, _LAST_BLOCK)
    return keep.to(device)


def _resolve(free: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return which boxes remain: those that no remaining box ``first[k]`` suppresses as ``second[k]``."""
    # A fixed-point iteration: it converges after as many steps as the longest chain of suppressions.
    remaining = free
    while True:
        updated = free.clone()
        updated[second[remaining[first]]] = False
        if torch.equal(updated, remaining):
            return remaining
        remaining = updated


class _AllPairs:
    """All pairs of boxes of one class, which for few boxes is quicker than to find those near each other."""

    def __init__(self, classes: Tensor) -> None:
        self.classes = classes

    def pairs(self, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pairs, as int64 [m] and int64 [m], of the boxes ``first`` and ``second``."""
        a, b = (self.classes[first][:, None] == self.classes[second]).nonzero().unbind(dim=1)
        yield first[a], second[b]


class _Neighbours:
    """Find the pairs of boxes of one class whose IoU may exceed a threshold.

    An IoU above t needs an intersection above t times the longer of the two widths. So the widths differ by less than a
    factor t, and the distance of the centres is at most ``(1 - t) / (2 min(t, 1/2))`` times either width; likewise for
    heights.
    """

    def __init__(self, boxes: Tensor, classes: Tensor, threshold: float) -> None:
        wide = boxes.double()
        wide = torch.where(wide.isfinite().all(dim=1, keepdim=True), wide, 0.0)  # others overlap nothing
        centres, sides = wide[:, :2], wide[:, 2:].abs()
        # Rounding may double sides of a few units in the last place. A box overlaps such a box enough only if its own
        # side is short, too; for the others, rounding changes both sides of a pair by less than 2 %.
        is_short = sides.amin(dim=1, keepdim=True) < _RELATIVE_SIDE * wide.abs().max() / max(threshold, 1e-9)
        t = torch.where(is_short, 0.24 * threshold, 0.95 * threshold).clamp(min=1e-9)
        reach = (1 - t) / (2 * t.clamp(max=0.5)) * sides + 1e-6 * centres.abs()
        column, self.first_column, self.end_column = _ranges(centres[:, 0], reach[:, 0])
        row, first_row, end_row = _ranges(centres[:, 1], reach[:, 1])
        # Bands of so many rows that a box reaches three of them on average.
        rows = max(1, int((end_row - first_row).sum()) // max(1, 2 * len(boxes)))
        self.count = len(boxes) + 1
        self.bands = classes * (len(boxes) // rows + 1)
        self.first_band = self.bands + first_row // rows
        self.band_counts = (end_row - 1).clamp(min=0) // rows - first_row // rows + 1
        self.areas, self.min_ratio = sides.prod(dim=1), t[:, 0]
        self.keys = (self.bands + row // rows) * self.count + column

    def pairs(self, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pairs, as int64 [m] and int64 [m], of the boxes ``first`` and those of ``second`` near them."""
        keys, order = self.keys[first].sort()
        first = first[order]
        query, offset = _expand(self.band_counts[second])
        query = second[query]
        band = (self.first_band[query] + offset) * self.count
        starts = torch.searchsorted(keys, band + self.first_column[query])
        counts = torch.searchsorted(keys, band + self.end_column[query]) - starts
        for part in _split(counts.cumsum(dim=0)):
            number, offset = _expand(counts[part])
            a, b = first[starts[part][number] + offset], query[part][number]
            # The IoU is at most the ratio of the areas.
            area, other, ratio = self.areas[a], self.areas[b], self.min_ratio[b]
            similar = (area >= ratio * other) & (other >= ratio * area)
            yield a[similar], b[similar]


def _ranges(centres: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rank of each coordinate, int64 [n], and the first and the end of the ranks in its reach."""
    ordered, order = centres.sort()
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    ends = torch.searchsorted(ordered, centres + reach, right=True)
    return ranks, torch.searchsorted(ordered, centres - reach), ends


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return for counts [2, 0, 3] the indices [0, 0, 2, 2, 2] and the numbers [0, 1, 0, 1, 2]."""
    index = torch.repeat_interleave(counts)
    starts = counts.cumsum(dim=0) - counts
    return index, torch.arange(len(index)) - starts[index]


def _split(ends: Tensor) -> Iterator[slice]:
    """Yield slices of at most about ``_PAIRS`` pairs; ``ends``: their cumulative numbers, int64 [n]."""
    start, total = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(torch.searchsorted(ends, total + _PAIRS, right=True)))
        yield slice(start, stop)
        start, total = stop, int(ends[stop - 1])
