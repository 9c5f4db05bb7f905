"""The predictions of ``[region]``."""

from __future__ import annotations

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
