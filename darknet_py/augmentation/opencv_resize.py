"""``resize``: cv::resize of uint8 images, bilinear, bit for bit as OpenCV 4.6 (``INTER_LINEAR``).

OpenCV computes with integers: weights are multiples of 1/2048, rows are resized first, to multiples of 1/128 of a
level that are rounded down, and each of the two rows of a result is rounded down to 1/4 of a level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..images.reading import ImageArray

_WEIGHT_BITS = 11
_DROPPED_BITS = 4  # of a resized row's 11
_BAND_VALUES = 1 << 16  # values that are computed at once: their int32 fit into a core's cache


class _Taps(NamedTuple):
    """The two source indices of each sample along an axis, int [target], and their weights, int32 [target]."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    first_weight: npt.NDArray[np.int32]
    second_weight: npt.NDArray[np.int32]


def resize(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Resize an image, bilinear between pixel centres; to half of both sides it is the mean of 2 x 2 pixels.

    Args:
        image: uint8 [H, W, channels].
        size: width and height of the result.

    Returns:
        uint8 [height, width, channels].
    """
    rows, columns, channels = image.shape
    width, height = size
    if (columns, rows) == size:
        return image
    if (columns, rows) == (2 * width, 2 * height):
        pairs = image[::2].astype(np.uint16) + image[1::2]
        halved: ImageArray = ((pairs[:, ::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)
        return halved
    # OpenCV clamps columns outside the image with all of the weight on the edge, rows with both weights as they are.
    x, y = _taps(columns, width, edge_weight=True), _taps(rows, height, edge_weight=False)
    left_weight, right_weight = (np.repeat(weights, channels) for weights in (x.first_weight, x.second_weight))
    out = np.empty((height, width * channels), np.uint8)
    band = max(1, _BAND_VALUES // out.shape[1])
    for start in range(0, height, band):
        part = slice(start, start + band)
        needed, (upper, lower) = np.unique(np.stack((y.first[part], y.second[part])), return_inverse=True)
        source = image[needed]
        resized = source.take(x.first, axis=1).reshape(len(needed), -1) * left_weight
        resized += source.take(x.second, axis=1).reshape(len(needed), -1) * right_weight
        resized >>= _DROPPED_BITS
        total = _scale_rows(resized[upper], y.first_weight[part])
        total += _scale_rows(resized[lower], y.second_weight[part])
        total += 2
        total >>= 2
        out[part] = total
    return out.reshape(height, width, channels)


def _taps(side: int, target: int, *, edge_weight: bool) -> _Taps:
    """Taps of ``target`` samples of ``side`` pixels; ``edge_weight``: beyond the edges the first has all weight."""
    scale = 1 / (target / side)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(position)
    share = position - floor
    first = floor.astype(np.intp)
    if edge_weight:
        share[(first < 0) | (first >= side - 1)] = 0
    one = np.float32(1 << _WEIGHT_BITS)
    weights = (np.rint(weight * one).astype(np.int32) for weight in (1 - share, share))
    return _Taps(first.clip(0, side - 1), (first + 1).clip(0, side - 1), *weights)


def _scale_rows(rows: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Multiply rows in place, int32 [n, values] times int32 [n], rounded down to 1/4 of a level."""
    rows *= weights[:, None]
    rows >>= 2 * _WEIGHT_BITS - _DROPPED_BITS - 2
    return rows
