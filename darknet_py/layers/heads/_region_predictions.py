"""The predictions of ``[region]``, and what they are trained towards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class RegionPredictions(NamedTuple):
    """Predictions of a head.

    Attributes:
        xy: float [batch, height, width, anchors, 2], centre in its cell, 0..1.
        log_size: float [batch, height, width, anchors, 2], log of the size relative to the anchor.
        objectness: float [batch, height, width, anchors].
        scores: float [batch, height, width, anchors, classes].
        boxes: float [batch, height, width, anchors, 4], (cx, cy, w, h) relative to the image.
    """

    xy: Tensor
    log_size: Tensor
    objectness: Tensor
    scores: Tensor
    boxes: Tensor


@dataclass
class RegionTargets:
    """Targets and weights of all rows; a row is one anchor of one cell of one image.

    Attributes:
        objectness: float [rows].
        objectness_weights: float [rows].
        box: float [rows, 4], of x, y, and the logarithms of w and h relative to the anchor.
        box_weights: float [rows].
        classes: float [rows, classes].
        class_weights: float [rows, classes].
    """

    objectness: Tensor
    objectness_weights: Tensor
    box: Tensor
    box_weights: Tensor
    classes: Tensor
    class_weights: Tensor
