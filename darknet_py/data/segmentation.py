"""Bounding boxes of COCO's segmentations: polygons, and run lengths of masks.

https://cocodataset.org/#format-data. Run lengths alternate between 0 and 1 and follow the columns of the mask. A file
has them as numbers, or "compressed" in the text of pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_DIGIT_BITS = 5  # of a letter of compressed run lengths, whose sixth bit says that more follow
_FIRST_LETTER = 48


def bounding_box(segmentation: Any) -> tuple[float, float, float, float]:
    """Return (x, y, width, height) in pixels of the smallest box around a segmentation.

    Args:
        segmentation: polygons, each ``[x1, y1, x2, y2, ...]``, or one; or ``{"size": [height, width], "counts": ...}``.

    Raises:
        ValueError, TypeError, KeyError: it is neither, or has no points or pixels.
    """
    return _mask_box(segmentation) if isinstance(segmentation, Mapping) else _polygon_box(segmentation)


def _polygon_box(polygons: Any) -> tuple[float, float, float, float]:
    nested = polygons if isinstance(polygons[0], Sequence) else [polygons]
    corners = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in nested])
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right - left, bottom - top


def _mask_box(mask: Mapping[str, Any]) -> tuple[float, float, float, float]:
    height, width = map(int, mask["size"])
    counts = mask["counts"]
    runs = _decompress(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if min(height, width) <= 0 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"expected run lengths of {height} x {width} pixels")
    ends = np.cumsum(runs)
    first, last = (ends - runs)[1::2], ends[1::2] - 1
    first, last = first[first <= last], last[first <= last]
    if not len(first):
        raise ValueError("expected a mask with pixels")
    left, right = first[0] // height, last[-1] // height
    is_within_column = first // height == last // height
    top = np.where(is_within_column, first % height, 0).min()
    bottom = np.where(is_within_column, last % height, height - 1).max()
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def _decompress(text: str) -> npt.NDArray[np.int64]:
    """The run lengths in pycocotools' text: 5 bits per letter, and from the fourth on relative to the last but one."""
    runs: list[int] = []
    value = bits = 0
    for letter in text:
        digit = ord(letter) - _FIRST_LETTER
        if not 0 <= digit < 64:
            raise ValueError(f"expected compressed run lengths, found {letter!r}")
        value |= (digit & 31) << bits
        bits += _DIGIT_BITS
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return np.array(runs, np.int64)
