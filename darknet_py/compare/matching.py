"""Match the detections of two models on one input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import iou

_MIN_IOU = 0.9
_MAX_CONFIDENCE_DIFFERENCE = 0.01  # also the distance from the threshold within which an unmatched box is ignored


@dataclass(frozen=True)
class BoxMatches:
    """How the boxes of models A and B match.

    Attributes:
        a: Number of boxes of A.
        b: Number of boxes of B.
        matched: Number of pairs.
        near_threshold: Number of unmatched boxes so close to the threshold that rounding explains them.
        max_pixels: Largest difference of cx, cy, w or h in pixels of the input, over all pairs.
        max_confidence: Largest difference of confidence, over all pairs.
    """

    a: int
    b: int
    matched: int
    near_threshold: int
    max_pixels: float
    max_confidence: float

    @property
    def is_same(self) -> bool:
        """Whether every box is matched, except those near the threshold."""
        return self.a + self.b - 2 * self.matched <= self.near_threshold


def match_boxes(a: Tensor, b: Tensor, size: tuple[int, int], threshold: float) -> BoxMatches:
    """Match boxes of one class greedily by IoU, in descending order of A's confidence.

    Args:
        a: Detections of A, float [n, 6]: class, confidence, cx, cy, w, h relative to the input.
        b: Detections of B, float [m, 6].
        size: Width and height of the input in pixels.
        threshold: Score threshold of the detections.
    """
    is_unmatched_b = torch.ones(len(b), dtype=torch.bool)
    is_unmatched_a = torch.ones(len(a), dtype=torch.bool)
    max_pixels = max_confidence = 0.0
    scale = b.new_tensor(size).repeat(2)
    for index in a[:, 1].argsort(descending=True).tolist():
        row = a[index]
        close = (b[:, 1] - row[1]).abs() < _MAX_CONFIDENCE_DIFFERENCE
        ious = torch.where(is_unmatched_b & close & (b[:, 0] == row[0]), iou(row[2:], b[:, 2:]), 0)
        if len(b) and float(ious.max()) > _MIN_IOU:
            match = int(ious.argmax())
            is_unmatched_b[match] = False
            is_unmatched_a[index] = False
            max_pixels = max(max_pixels, float(((b[match, 2:] - row[2:]) * scale).abs().max()))
            max_confidence = max(max_confidence, float((b[match, 1] - row[1]).abs()))
    unmatched = torch.cat((a[is_unmatched_a, 1], b[is_unmatched_b, 1]))
    near_threshold = int((unmatched < threshold + _MAX_CONFIDENCE_DIFFERENCE).sum())
    return BoxMatches(len(a), len(b), int((~is_unmatched_a).sum()), near_threshold, max_pixels, max_confidence)
