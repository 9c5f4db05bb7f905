"""``mosaic=1``: compose four images that meet at a point (``load_data_detection``, ``blend_truth_mosaic``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.labels import TargetArray
from ..images.reading import ImageArray
from .geometry import CropWindow, Size

FloatArray = npt.NDArray[np.float32]

TILES = 4  # top left, top right, bottom left, bottom right
_MARGIN = 0.2  # minimum distance of the centre from the edges, relative to the side


class MosaicTile(NamedTuple):
    """A tile [x0, x1) x [y0, y1) of a mosaic, and the translation (dx, dy) of its image, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    dx: int
    dy: int


def sample_centre(size: Size, rng: np.random.Generator) -> tuple[int, int]:
    """Sample the point where the four images meet, (x, y) in pixels."""
    low, high = (tuple(int(side * share) for side in size) for share in (_MARGIN, 1 - _MARGIN))
    x, y = rng.integers(low, high, endpoint=True)
    return int(x), int(y)


def make_tile(tile: int, centre: tuple[int, int], window: CropWindow, size: Size, *, exact: bool = False) -> MosaicTile:
    """Compute the position of a tile and the part of its image that it shows.

    A tile shows the part of its image next to the mosaic's centre, without the border of mean colour.

    Args:
        tile: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
        centre: (x, y) where the images meet.
        window: the window that the image was cropped with, flipped if the image is.
        size: width and height of the mosaic.
        exact: measure the border relative to the window; Darknet measures it relative to the whole image.
    """
    (x, y), (width, height) = centre, size
    reference = window.size if exact else (window.width, window.height)
    left, right = (max(0, -margin * width // reference[0]) for margin in (window.left, window.right))
    top, bottom = (max(0, -margin * height // reference[1]) for margin in (window.top, window.bottom))
    is_right, is_bottom = tile % 2 == 1, tile >= 2
    return MosaicTile(
        x if is_right else 0,
        y if is_bottom else 0,
        width if is_right else x,
        height if is_bottom else y,
        x - min(x, left) if is_right else min(width - x, right) - (width - x),
        y - min(y, top) if is_bottom else min(height - y, bottom) - (height - y),
    )


def compose(images: Sequence[ImageArray], tiles: Sequence[MosaicTile]) -> ImageArray:
    """Compose four images of one size, uint8 [height, width, channels]."""
    out = np.empty_like(images[0])
    for image, t in zip(images, tiles, strict=True):
        out[t.y0 : t.y1, t.x0 : t.x1] = image[t.y0 - t.dy : t.y1 - t.dy, t.x0 - t.dx : t.x1 - t.dx]
    return out


def transform_boxes(targets: TargetArray, tile: MosaicTile, size: Size, *, bound: bool) -> TargetArray:
    """Transform the targets of one image to the mosaic, as ``blend_truth_mosaic`` does.

    Computed in float32, as in C; edges are rounded to whole pixels where C rounds them.

    Args:
        targets: float32 [n, 5 or more], (cx, cy, w, h) relative to the tile's image, class, ...
        tile: the tile.
        size: width and height of the mosaic.
        bound: clip boxes to the tile (``mosaic_bound=1``), else to the mosaic only, so that a box may reach into the
            neighbouring tiles.

    Returns:
        float32 [m, 5 or more], boxes relative to the mosaic; those outside are dropped.
    """
    unit = np.array(size, np.float32)
    xy, wh = targets[:, :2] + np.array((tile.dx, tile.dy), np.float32) / unit, targets[:, 2:4]
    low, high = _edges(xy, wh, unit)
    if bound:
        low = np.maximum(low, np.array((tile.x0, tile.y0), np.float32))
        high = np.minimum(high, np.array((tile.x1, tile.y1), np.float32))
        xy, wh = (low + high) / 2 / unit, (high - low) / unit
    else:
        below, above = np.minimum(low, 0) / unit, np.maximum(high - unit, 0) / unit  # parts outside the mosaic
        xy, wh = xy - below / 2 - above / 2, wh + below - above
        low, high = _edges(xy, wh, unit)
    valid = (low >= 0) & (high <= unit) & (wh > 1 / unit) & (wh < 1) & (xy > 0) & (xy < 1)
    result: TargetArray = np.concatenate((xy, wh, targets[:, 4:]), axis=1)[valid.all(axis=1)]
    return result


def _edges(xy: FloatArray, wh: FloatArray, unit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Left and top, and right and bottom edges in whole pixels, each [n, 2]."""
    low, high = (np.trunc((xy + sign * wh / 2) * unit) for sign in (-1, 1))
    return low, high


def merge_boxes(
    targets: Sequence[TargetArray], tiles: Sequence[MosaicTile], size: Size, limit: int, *, bound: bool
) -> TargetArray:
    """Transform the targets of all tiles to the mosaic, see ``transform_boxes``: float32 [m, 5 or more], m <= limit."""
    out = targets[0][:0]
    for rows, tile in zip(targets, tiles, strict=True):
        out = np.concatenate((out, transform_boxes(rows[: limit - len(out)], tile, size, bound=bound)))
    return out
