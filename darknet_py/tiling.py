"""``TiledDetector``: large images in overlapping tiles of the network's size, so that small objects stay large enough.

A tile sees less of an object that its edge cuts, so the overlap of whole boxes does not tell that two tiles saw
one object. What the two tiles both see of it does: boxes of two tiles are compared inside the tiles' common
part, with the network's own suppression. The strongest box stays; where its tile cut it, it grows by those
that it takes away, from tile to tile. A box that is cut and lies in one that another tile saw whole goes in any
case. The image as a whole is one more tile: it finds what is larger than those.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import NMSOptions, xyxy_to_xywh
from .detector import Detector
from .errors import DataError
from .images.reading import ImageSource, read_image
from .results.results import Results

_EDGE = 0.02  # of a tile's side: a box that comes so near to a cut is taken to be cut
_INSIDE = 0.7  # of a box that is cut: so much of it inside a whole one is a part of that


class TileDetections(NamedTuple):
    """Rows of all tiles of an image, in its pixels: boxes and tiles as left, top, right, bottom."""

    boxes: Tensor
    conf: Tensor
    cls: Tensor
    box: Tensor
    tile: Tensor


class TiledDetector:
    """A detector that looks at an image tile by tile; it is called as ``detector`` is.

    ``overlap``: of neighbouring tiles, as a share of their sides, 0..0.9. Objects up to that size lie whole in some
    tile. ``whole``: look at the whole image, too. An image that is no larger than a tile is one tile.
    """

    def __init__(self, detector: Detector, *, overlap: float = 0.2, whole: bool = True) -> None:
        if not 0 <= overlap <= 0.9:
            raise DataError(f"overlap of tiles: expected 0..0.9, got {overlap}")
        self.detector, self.overlap, self.whole = detector, overlap, whole

    def __call__(self, source: ImageSource) -> Results:
        """Boxes of one image. Raises DataError for an image that cannot be read."""
        image = read_image(source, self.detector.network.shape.channels)
        height, width = image.shape[:2]
        tiles = cut((width, height), self.detector.size, self.overlap)
        if self.whole and len(tiles) > 1:
            tiles.append((0, 0, width, height))
        parts = [image[top:bottom, left:right] for left, top, right, bottom in tiles]
        seen = list(self.detector.stream(parts, workers=0))
        found = _gather(seen, torch.tensor(tiles, dtype=torch.float32))
        if self.detector.nms and len(tiles) > 1:
            found = merge(found, (width, height), self.detector.nms, self.detector.network.heads[-1].nms_options)
        size = found.boxes.new_tensor([width, height, width, height])
        speed = {stage: sum(one.speed[stage] for one in seen) for stage in seen[0].speed}
        return Results(
            xyxy_to_xywh(found.boxes) / size,
            found.conf,
            found.cls,
            found.box,
            shape=(height, width),
            names=self.detector.names,
            path=os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "filename", ""),
            image=image,
            speed=speed,
        )

    def stream(self, sources: Iterable[ImageSource], *, workers: int = 0) -> Iterator[Results]:
        """Results one by one; the tiles of an image go through the network ``detector.batch_size`` at a time."""
        return map(self, sources)


def cut(image: tuple[int, int], tile: tuple[int, int], overlap: float) -> list[tuple[int, int, int, int]]:
    """Tiles (left, top, right, bottom) that cover an image of a width and height, row by row.

    They are spread evenly and overlap by ``overlap`` of a side or more.
    """
    across, down = (_spread(whole, part, overlap) for whole, part in zip(image, tile, strict=True))
    return [(left, top, right, bottom) for top, bottom in down for left, right in across]


def _spread(whole: int, part: int, overlap: float) -> list[tuple[int, int]]:
    if whole <= part:
        return [(0, whole)]
    count = math.ceil((whole - part) / max(1, part * (1 - overlap))) + 1
    starts = [round(number * (whole - part) / (count - 1)) for number in range(count)]
    return [(start, start + part) for start in starts]


def _gather(seen: list[Results], tiles: Tensor) -> TileDetections:
    rows, boxes = [], 0
    for result, tile in zip(seen, tiles, strict=True):
        one = result.cpu().boxes
        rows.append((one.xyxy + tile[:2].repeat(2), one.conf, one.cls, one.box + boxes, tile.expand(len(one), 4)))
        boxes += int(one.box.max()) + 1 if len(one) else 0
    return TileDetections(*map(torch.cat, zip(*rows, strict=True)))


def merge(found: TileDetections, image: tuple[int, int], threshold: float, how: NMSOptions) -> TileDetections:
    """One row for what several tiles saw; rows of one tile are left alone, as they have been suppressed."""
    order = found.conf.argsort(descending=True, stable=True)
    found = TileDetections(*(column[order] for column in found))
    kept = []
    for cls in found.cls.unique():
        rows = (found.cls == cls).nonzero().flatten()
        kept.append(_merged(TileDetections(*(column[rows] for column in found)), image, threshold, how))
    return TileDetections(*map(torch.cat, zip(*kept, strict=True))) if kept else found


def _merged(found: TileDetections, image: tuple[int, int], threshold: float, how: NMSOptions) -> TileDetections:
    """``merge`` for the rows of one class, the strongest first."""
    cut_off = _cut_off(found, image)
    same, parts = _same(found, threshold, how)
    whole_elsewhere = (parts & cut_off & ~cut_off[:, None]).any(dim=0)
    boxes, kept = found.boxes.clone(), []
    free = (~whole_elsewhere).tolist()
    for row in range(len(free)):
        if not free[row]:
            continue
        kept.append(row)
        free[row], group, waiting = False, [row], [row]
        while waiting:
            one = waiting.pop()
            new = [other for other in same[one].nonzero().flatten().tolist() if free[other]]
            for other in new:
                free[other] = False
            group += new
            waiting += [other for other in new if cut_off[other]]  # what is cut goes on in a third tile
        if cut_off[row]:
            boxes[row] = torch.cat((found.boxes[group, :2].amin(dim=0), found.boxes[group, 2:].amax(dim=0)))
    return TileDetections(*(column[kept] for column in found._replace(boxes=boxes)))


def _same(found: TileDetections, threshold: float, how: NMSOptions) -> tuple[Tensor, Tensor]:
    """Which rows are one object that two tiles saw, and which have another in them: [n, n] of bool, twice."""
    low = torch.maximum(found.tile[:, None, :2], found.tile[None, :, :2])
    high = torch.minimum(found.tile[:, None, 2:], found.tile[None, :, 2:])
    shared = torch.cat((low, torch.maximum(low, high)), dim=-1)
    clipped = found.boxes[:, None].clamp(min=shared[..., :2].repeat(1, 1, 2), max=shared[..., 2:].repeat(1, 1, 2))
    mine, theirs = clipped, clipped.transpose(0, 1)
    overlap = how.overlap(xyxy_to_xywh(mine), xyxy_to_xywh(theirs))
    sides = torch.minimum(mine[..., 2:], theirs[..., 2:]) - torch.maximum(mine[..., :2], theirs[..., :2])
    common = sides.clamp(min=0).prod(dim=-1)
    covered = common > _INSIDE * (found.boxes[:, 2:] - found.boxes[:, :2]).prod(dim=-1)
    other = (found.tile[:, None] != found.tile[None]).any(dim=-1)
    return (overlap > threshold) & other, covered & other


def _cut_off(found: TileDetections, image: tuple[int, int]) -> Tensor:
    """Which boxes reach an edge of their tile that is none of the image's."""
    sides = (found.tile[:, 2:] - found.tile[:, :2]) * _EDGE
    end = found.tile.new_tensor(image)
    low = (found.boxes[:, :2] <= found.tile[:, :2] + sides) & (found.tile[:, :2] > 0)
    high = (found.boxes[:, 2:] >= found.tile[:, 2:] - sides) & (found.tile[:, 2:] < end)
    return (low | high).any(dim=1)
