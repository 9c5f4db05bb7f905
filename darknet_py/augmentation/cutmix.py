"""CutMix: a rectangle of one image is pasted into another (https://arxiv.org/abs/1905.04899)."""

from __future__ import annotations

import numpy as np

from ..data.labels import TargetArray
from .geometry import Size

_SIDES = (0.3, 0.8)  # sides of the rectangle, relative to the image's
MIN_VISIBLE = 0.3  # share of a box's area that must be visible
_ROUNDING = 0.001  # pixels

Rectangle = tuple[int, int, int, int]  # left, top, width, height in pixels


def sample_rectangle(size: Size, rng: np.random.Generator) -> Rectangle:
    """Sample the rectangle that is pasted, with the sides that Darknet's CutMix of classifiers has."""
    low, high = _SIDES
    w, h = (int(rng.integers(int(side * low), int(side * high), endpoint=True)) for side in size)
    x, y = (int(rng.integers(0, max(1, side - part))) for side, part in zip(size, (w, h), strict=True))
    return x, y, w, h


def visible_boxes(targets: TargetArray, rectangle: Rectangle, size: Size, *, pasted: bool) -> TargetArray:
    """Return the targets of which enough is visible, with boxes clipped to their visible part.

    A box that the rectangle covers from one side to the other gets the side that remains visible; one that it covers
    in a corner or in the middle keeps its sides. Boxes are dropped if less than 30 % of their area is visible, or less
    than a pixel of a side.

    Args:
        targets: float32 [n, 5 or more], (cx, cy, w, h) relative to the image, class, ...
        rectangle: the rectangle.
        size: width and height of the image.
        pasted: whether the targets are those of the pasted image, visible inside the rectangle, or those of the other.

    Returns:
        float32 [m, 5 or more].
    """
    unit = np.array(size, np.float32)
    half = targets[:, 2:4] / 2
    low, high = targets[:, :2] - half, targets[:, :2] + half
    start = np.array(rectangle[:2], np.float32) / unit
    end = start + np.array(rectangle[2:], np.float32) / unit
    inner_low, inner_high = np.maximum(low, start), np.minimum(high, end)
    covered = (inner_high - inner_low).clip(0).prod(axis=1)
    area = (high - low).prod(axis=1)
    if pasted:
        low, high, visible = inner_low, inner_high, covered
    else:
        visible = area - covered
        from_low, to_high = low >= start - _ROUNDING / unit, high <= end + _ROUNDING / unit
        spans = (from_low & to_high)[:, ::-1] & (covered > 0)[:, None]  # it covers the box along the other axis
        covers_low, covers_high = spans & from_low, spans & to_high
        low, high = np.where(covers_low, end, low), np.where(covers_high, start, high)
    kept = (visible >= MIN_VISIBLE * area) & ((high - low) * unit > 1 - _ROUNDING).all(axis=1)
    boxes = np.concatenate(((low + high) / 2, high - low), axis=1)
    result: TargetArray = np.concatenate((boxes, targets[:, 4:]), axis=1)[kept]
    return result
