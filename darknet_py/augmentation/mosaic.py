"""``mosaic=1``: one image of four that meet in a point (``load_data_detection``, ``blend_truth_mosaic``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.labels import Truths
from ..images.reading import ImageArray
from .geometry import Size, Window

PARTS = 4  # top left, top right, bottom left, bottom right
_NEAREST = 0.2  # that the point may come to an edge, as a part of the side


class Part(NamedTuple):
    """A quadrant [x0, x1) x [y0, y1) of the image, and how far what it shows is moved, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    right: int
    down: int


def centre(size: Size, rng: np.random.Generator) -> tuple[int, int]:
    """The point where the images meet."""
    low, high = (tuple(int(side * share) for side in size) for share in (_NEAREST, 1 - _NEAREST))
    x, y = rng.integers(low, high, endpoint=True)
    return int(x), int(y)


def part(quadrant: int, centre: tuple[int, int], window: Window, size: Size, *, exact: bool = False) -> Part:
    """Where a quadrant shows its image, which was made of ``window`` (mirrored already) in ``size``.

    It shows the side of the image that touches the centre, less the border of mean colour. Darknet
    measures that border in pixels of the whole image; ``exact`` measures it in those of the window.
    """
    (x, y), (width, height) = centre, size
    whole = window.size if exact else (window.width, window.height)
    left, right = (max(0, -margin * width // whole[0]) for margin in (window.left, window.right))
    top, bottom = (max(0, -margin * height // whole[1]) for margin in (window.top, window.bottom))
    east, south = quadrant % 2 == 1, quadrant >= 2
    return Part(
        x if east else 0,
        y if south else 0,
        width if east else x,
        height if south else y,
        x - min(x, left) if east else min(width - x, right) - (width - x),
        y - min(y, top) if south else min(height - y, bottom) - (height - y),
    )


def joined(images: Sequence[ImageArray], parts: Sequence[Part]) -> ImageArray:
    """The image of four."""
    out = np.empty_like(images[0])
    for image, p in zip(images, parts, strict=True):
        out[p.y0 : p.y1, p.x0 : p.x1] = image[p.y0 - p.down : p.y1 - p.down, p.x0 - p.right : p.x1 - p.right]
    return out


def moved(targets: Truths, part: Part, size: Size, *, bound: bool) -> Truths:
    """The objects of a quadrant's image, relative to the image of four.

    ``bound``: they are cut off at the quadrant, else at the image alone, so that a box may reach over
    what its neighbour shows. Edges are rounded to whole pixels as far as Darknet does.
    """
    unit = np.array(size)
    xy, wh = targets[:, :2] + np.array((part.right, part.down)) / unit, targets[:, 2:4].astype(np.float64)
    low, high = (((xy + sign * wh / 2) * unit).astype(int) for sign in (-1, 1))
    if bound:
        low, high = np.maximum(low, (part.x0, part.y0)), np.minimum(high, (part.x1, part.y1))
        xy, wh = (low + high) / 2 / unit, (high - low) / unit
    else:
        before, behind = np.minimum(low, 0) / unit, np.maximum(high - unit, 0) / unit
        xy, wh = xy - before / 2 - behind / 2, wh + before - behind
        low, high = (((xy + sign * wh / 2) * unit).astype(int) for sign in (-1, 1))
    inside = (low >= 0) & (high <= unit) & (wh > 1 / unit) & (wh < 1) & (xy > 0) & (xy < 1)
    rows: Truths = np.concatenate((xy, wh, targets[:, 4:]), axis=1)[inside.all(axis=1)].astype(np.float32)
    return rows


def gathered(targets: Sequence[Truths], parts: Sequence[Part], size: Size, limit: int, *, bound: bool) -> Truths:
    """The objects of all four, at most ``limit``."""
    out = targets[0][:0]
    for rows, p in zip(targets, parts, strict=True):
        out = np.concatenate((out, moved(rows[: limit - len(out)], p, size, bound=bound)))
    return out
