"""Boxes of two models on one input, paired."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import iou

_OVERLAP = 0.9  # of two boxes of a class that are the same object
_CONFIDENCE = 0.01  # by which their probabilities may differ, or lie beside the threshold


@dataclass(frozen=True)
class BoxMatches:
    """Boxes: how many A and B have, how many have a twin, how many of the rest lie beside the threshold.

    ``pixels``, ``confidence``: the largest differences between twins.
    """

    a: int
    b: int
    twins: int
    beside: int
    pixels: float
    confidence: float

    @property
    def same(self) -> bool:
        """Whether every box has a twin, those beside the threshold set apart."""
        return self.a + self.b - 2 * self.twins <= self.beside


def match(a: Tensor, b: Tensor, size: tuple[int, int], threshold: float) -> BoxMatches:
    """Pair rows [n, 6] (class, confidence, x, y, w, h relative to an input of ``size``), the likeliest first."""
    free = torch.ones(len(b), dtype=torch.bool)
    alone = torch.ones(len(a), dtype=torch.bool)
    pixels = confidence = 0.0
    scale = b.new_tensor(size).repeat(2)
    for number in a[:, 1].argsort(descending=True).tolist():
        row = a[number]
        near = (b[:, 1] - row[1]).abs() < _CONFIDENCE
        overlap = torch.where(free & near & (b[:, 0] == row[0]), iou(row[2:], b[:, 2:]), 0)
        if len(b) and float(overlap.max()) > _OVERLAP:
            twin = int(overlap.argmax())
            free[twin], alone[number] = False, False
            pixels = max(pixels, float(((b[twin, 2:] - row[2:]) * scale).abs().max()))
            confidence = max(confidence, float((b[twin, 1] - row[1]).abs()))
    rest = torch.cat((a[alone, 1], b[free, 1]))
    beside = int((rest < threshold + _CONFIDENCE).sum())
    return BoxMatches(len(a), len(b), int((~alone).sum()), beside, pixels, confidence)
