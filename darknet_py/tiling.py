"""``TiledDetector``: detection on large images in overlapping tiles of the network's size.

Tiles keep small objects large enough for the network. Where the edge of a tile cuts an object, two tiles see different
parts of it, and the IoU of their boxes may be low. Boxes of two tiles are therefore compared inside the intersection
of the tiles only, by the network's own NMS rule. The most confident box is kept; if its tile cuts it, it is extended by
the boxes that it suppresses, from tile to tile. A cut box inside an uncut box of another tile is always suppressed. The
whole image is an additional tile, for objects larger than tiles.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import NMSOptions, xyxy_to_xywh
from .detector import Detector
from .errors import DataError
from .images.prefetch import catch_errors, drop_errors
from .images.reading import ImageSource
from .modes import standard_defaults
from .postprocess import nms_options
from .results.results import Results

_EDGE_MARGIN = 0.02  # of a tile's side: a box closer than this to an edge of its tile counts as cut
_CONTAINED = 0.7  # a cut box with a larger fraction of its area inside an uncut box is a part of that box


class TileDetections(NamedTuple):
    """Detections of all tiles of an image, a row for each box and class.

    Attributes:
        boxes: float [n, 4], (x1, y1, x2, y2) in pixels of the image.
        conf: float [n], confidence in 0..1.
        cls: int64 [n], class number.
        box: int64 [n], equal for rows of one box.
        tile: float [n, 4], (x1, y1, x2, y2) of the tile in pixels of the image.
    """

    boxes: Tensor
    conf: Tensor
    cls: Tensor
    box: Tensor
    tile: Tensor


class TiledDetector:
    """Run a detector on overlapping tiles of an image; it is called like ``Detector``.

    With recurrent layers, the tiles of an image are a sequence of their own: images do not influence each other.

    Args:
        detector: the detector; its ``batch_size`` is the number of tiles per forward pass.
        overlap: overlap of neighbouring tiles as a fraction of their sides, 0..0.9. Objects up to that size are
            uncut in some tile.
        whole: also detect on the whole image, resized to the network's input. An image not larger than a tile is
            a single tile.

    Raises:
        DataError: ``overlap`` is out of range.
    """

    def __init__(self, detector: Detector, *, overlap: float = 0.2, whole: bool = True) -> None:
        if not 0 <= overlap <= 0.9:
            raise DataError(f"overlap of tiles: expected 0..0.9, got {overlap}")
        self.detector = detector
        self.overlap = overlap
        self.whole = whole

    @standard_defaults()
    def __call__(self, source: ImageSource) -> Results:
        """Detect objects in one image. Raises DataError for an image that cannot be read."""
        image = self.detector.read_image(source)
        height, width = image.shape[:2]
        tiles = make_tiles((width, height), self.detector.size, self.overlap)
        if self.whole and len(tiles) > 1:
            tiles.append((0, 0, width, height))
        crops = [image[top:bottom, left:right] for left, top, right, bottom in tiles]
        results = list(self.detector.stream(crops, workers=0))
        detections = _concatenate(results, torch.tensor(tiles, dtype=torch.float32))
        if self.detector.nms and len(tiles) > 1:
            options = nms_options(self.detector.architecture, self.detector.nms_kind)
            agnostic = self.detector.selection.agnostic
            detections = merge(detections, (width, height), self.detector.nms, options, agnostic=agnostic)
        size = detections.boxes.new_tensor([width, height, width, height])
        speed = {stage: sum(result.speed[stage] for result in results) for stage in results[0].speed}
        merged = Results(
            xyxy_to_xywh(detections.boxes) / size,
            detections.conf,
            detections.cls,
            detections.box,
            shape=(height, width),
            names=self.detector.names,
            path=os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "filename", ""),
            image=image,
            speed=speed,
        )
        return merged[: self.detector.max_detections] if self.detector.max_detections else merged

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        workers: int | None = None,
        on_error: Callable[[DataError], object] | None = None,
    ) -> Iterator[Results]:
        """Yield the results of each image; see ``Detector.stream``, whose ``workers`` has no effect here."""
        return drop_errors(map(catch_errors(self), sources), on_error)


def make_tiles(
    image_size: tuple[int, int], tile_size: tuple[int, int], overlap: float
) -> list[tuple[int, int, int, int]]:
    """Cover an image with evenly spaced tiles.

    Args:
        image_size: width and height of the image in pixels.
        tile_size: width and height of a tile in pixels.
        overlap: minimum overlap of neighbouring tiles as a fraction of their sides.

    Returns:
        (x1, y1, x2, y2) of each tile in pixels, row by row.
    """
    columns, rows = (_intervals(size, tile, overlap) for size, tile in zip(image_size, tile_size, strict=True))
    return [(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _intervals(size: int, tile: int, overlap: float) -> list[tuple[int, int]]:
    """Start and end of tiles of length ``tile`` that cover 0..``size``."""
    if size <= tile:
        return [(0, size)]
    count = math.ceil((size - tile) / max(1, tile * (1 - overlap))) + 1
    starts = [round(number * (size - tile) / (count - 1)) for number in range(count)]
    return [(start, start + tile) for start in starts]


def _concatenate(results: list[Results], tiles: Tensor) -> TileDetections:
    """The detections of all tiles in pixels of the image."""
    rows = []
    box_offset = 0
    for result, tile in zip(results, tiles, strict=True):
        boxes = result.cpu().boxes
        xyxy = boxes.xyxy + tile[:2].repeat(2)
        rows.append((xyxy, boxes.conf, boxes.cls, boxes.box + box_offset, tile.expand(len(boxes), 4)))
        box_offset += int(boxes.box.max()) + 1 if len(boxes) else 0
    return TileDetections(*map(torch.cat, zip(*rows, strict=True)))


def merge(
    detections: TileDetections,
    image_size: tuple[int, int],
    nms: float,
    options: NMSOptions,
    *,
    agnostic: bool = False,
) -> TileDetections:
    """Merge detections of different tiles that belong to one object.

    Args:
        detections: detections after NMS within each tile.
        image_size: width and height of the image in pixels.
        nms: IoU threshold of NMS between tiles, 0..1.
        options: the network's kind of NMS.
        agnostic: compare rows of different classes, too.

    Returns:
        One row for each object and class; rows of one tile are not compared with each other.
    """
    order = detections.conf.argsort(descending=True, stable=True)
    detections = _select(detections, order)
    if agnostic:
        return _merge_class(detections, image_size, nms, options)
    merged = []
    for cls in detections.cls.unique():
        of_class = _select(detections, (detections.cls == cls).nonzero().flatten())
        merged.append(_merge_class(of_class, image_size, nms, options))
    return TileDetections(*map(torch.cat, zip(*merged, strict=True))) if merged else detections


def _select(detections: TileDetections, rows: Tensor) -> TileDetections:
    return TileDetections(*(column[rows] for column in detections))


def _merge_class(
    detections: TileDetections, image_size: tuple[int, int], nms: float, options: NMSOptions
) -> TileDetections:
    """``merge`` for rows of one class, sorted by descending confidence."""
    is_cut = _find_cut(detections, image_size)
    same_object, contained = _compare(detections, nms, options)
    uncut_elsewhere = (contained & is_cut & ~is_cut[:, None]).any(dim=0)
    boxes = detections.boxes.clone()
    kept = []
    free = (~uncut_elsewhere).tolist()
    for row in range(len(free)):
        if not free[row]:
            continue
        kept.append(row)
        free[row] = False
        group = [row]
        queue = [row]
        while queue:
            current = queue.pop()
            new = [other for other in same_object[current].nonzero().flatten().tolist() if free[other]]
            for other in new:
                free[other] = False
            group += new
            queue += [other for other in new if is_cut[other]]  # a cut box continues in a third tile
        if is_cut[row]:
            group_boxes = detections.boxes[group]
            boxes[row] = torch.cat((group_boxes[:, :2].amin(dim=0), group_boxes[:, 2:].amax(dim=0)))
    return _select(detections._replace(boxes=boxes), torch.tensor(kept, dtype=torch.int64))


def _compare(detections: TileDetections, nms: float, options: NMSOptions) -> tuple[Tensor, Tensor]:
    """Compare all pairs of rows of different tiles.

    Returns:
        bool [n, n], whether two rows overlap by more than ``nms`` inside the intersection of their tiles; bool [n, n],
        whether the second row is inside the first.
    """
    low = torch.maximum(detections.tile[:, None, :2], detections.tile[None, :, :2])
    high = torch.minimum(detections.tile[:, None, 2:], detections.tile[None, :, 2:])
    common = torch.cat((low, torch.maximum(low, high)), dim=-1)
    clipped = detections.boxes[:, None].clamp(min=common[..., :2].repeat(1, 1, 2), max=common[..., 2:].repeat(1, 1, 2))
    first, second = clipped, clipped.transpose(0, 1)
    overlap = options.overlap(xyxy_to_xywh(first), xyxy_to_xywh(second))
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = sides.clamp(min=0).prod(dim=-1)
    contained = intersection > _CONTAINED * (detections.boxes[:, 2:] - detections.boxes[:, :2]).prod(dim=-1)
    other_tile = (detections.tile[:, None] != detections.tile[None]).any(dim=-1)
    return (overlap > nms) & other_tile, contained & other_tile


def _find_cut(detections: TileDetections, image_size: tuple[int, int]) -> Tensor:
    """Whether a box reaches an edge of its tile that is not an edge of the image: bool [n]."""
    margin = (detections.tile[:, 2:] - detections.tile[:, :2]) * _EDGE_MARGIN
    end = detections.tile.new_tensor(image_size)
    low = (detections.boxes[:, :2] <= detections.tile[:, :2] + margin) & (detections.tile[:, :2] > 0)
    high = (detections.boxes[:, 2:] >= detections.tile[:, 2:] - margin) & (detections.tile[:, 2:] < end)
    return (low | high).any(dim=1)
