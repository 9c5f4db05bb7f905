"""Tiles cover the image, and an object across their edges is detected once and as a whole."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import darknet_py as dk
from darknet_py.boxes import NMSKind, NMSOptions, iou, xyxy_to_xywh
from darknet_py.errors import DataError
from darknet_py.images.reading import ImageArray, ImageSource, read_image
from darknet_py.postprocess import Selection
from darknet_py.results.results import Results
from darknet_py.tiling import TiledDetector, make_tiles
from tests.helpers import random_networks

SIDE = 64


class GreyDetector:
    """A fake 64x64 detector: a box around the visible pixels of each grey value from 100; class 1 from 200."""

    size, nms, names = (SIDE, SIDE), 0.45, ("dark", "light")
    read_image = staticmethod(read_image)
    selection, max_detections, nms_kind = Selection(), 0, None

    def __init__(self, kind: NMSKind = NMSKind.DEFAULT, min_side: int = 4) -> None:
        head = SimpleNamespace(nms_options=NMSOptions(kind), classes=len(self.names))
        self.architecture = SimpleNamespace(shape=SimpleNamespace(channels=3), heads=[head])
        self.min_side = min_side  # pixels after scaling, below which an object is not detected

    def stream(self, sources: Iterable[ImageSource], *, workers: int = 1) -> Iterator[Results]:
        for source in sources:
            image = cast(ImageArray, source)
            height, width = image.shape[:2]
            rows = []
            for value in np.unique(image[image >= 100]).tolist():
                ys, xs = np.nonzero(image[:, :, 0] == value)
                box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
                sides = (box[2] - box[0]) * min(1, SIDE / width), (box[3] - box[1]) * min(1, SIDE / height)
                if min(sides) >= self.min_side:
                    rows.append((*box, value >= 200, 0.5 + len(ys) / image.size))
            table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
            xywhn = xyxy_to_xywh(table[:, :4]) / torch.tensor([width, height, width, height])
            yield Results(xywhn, table[:, 5], table[:, 4].long(), shape=(height, width), speed={"inference": 1.0})


def tiled(detector: GreyDetector | None = None, **options: Any) -> TiledDetector:
    return TiledDetector(cast(dk.Detector, detector or GreyDetector()), **options)


@given(st.integers(1, 900), st.integers(8, 200), st.floats(0, 0.9))
def test_tiles_cover_the_image_and_overlap(whole: int, part: int, overlap: float) -> None:
    tiles = [(left, right) for left, top, right, bottom in make_tiles((whole, 10), (part, 10), overlap)]
    assert tiles[0][0] == 0
    assert tiles[-1][1] == whole
    assert {right - left for left, right in tiles} == {min(whole, part)}
    for (_, right), (left, _) in itertools.pairwise(tiles):
        assert right - left >= part * overlap - 1
    assert len(tiles) == 1 or (len(tiles) - 1) * (part * (1 - overlap) + 1) >= whole - part > 0


@settings(max_examples=20)
@given(st.data())
@pytest.mark.parametrize("kind", NMSKind)
def test_each_rectangle_is_detected_once_at_any_position(kind: NMSKind, data: st.DataObject) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    targets = []
    for number in range(6):  # one in each cell of a grid, so that they do not touch
        width, height = data.draw(st.integers(8, 80)), data.draw(st.integers(8, 80))
        left = 100 * (number % 3) + data.draw(st.integers(0, 95 - width))
        top = 100 * (number // 3) + data.draw(st.integers(0, 95 - height))
        value = 100 * data.draw(st.integers(1, 2)) + number
        image[top : top + height, left : left + width] = value
        targets.append((left, top, left + width, top + height))
    result = tiled(GreyDetector(kind), overlap=0.25, whole=False)(image)
    assert sorted(tuple(row) for row in result.boxes.xyxy.round().int().tolist()) == sorted(targets)


def test_objects_larger_than_tiles_are_detected_on_the_whole_image() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[20:240, 30:230] = 150
    assert tiled()(image).boxes.xyxy.round().tolist() == [[30, 20, 230, 240]]
    image[10:16, 200:206] = 220  # 6 pixels here, less than 2 in the whole image
    result = tiled()(image)
    assert result.boxes.xyxy.round().tolist() == [[30, 20, 230, 240], [200, 10, 206, 16]]
    assert [result.names[cls] for cls in result.boxes.cls.tolist()] == ["dark", "light"]
    assert result.orig_shape == (256, 256)
    assert result.speed["inference"] > 10


def test_a_small_image_is_one_tile(tmp_path: pathlib.Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:15, 5:15] = 100
    assert tiled()(image).speed == {"inference": 1.0}
    Image.fromarray(image).save(tmp_path / "a.png")
    (result,) = tiled().stream([str(tmp_path / "a.png")])
    assert (result.path, result.boxes.xyxy.round().tolist()) == (str(tmp_path / "a.png"), [[5, 5, 15, 15]])


def test_without_nms_tiles_are_not_merged() -> None:
    detector = GreyDetector()
    detector.nms = 0
    image = np.zeros((64, 100, 3), np.uint8)
    image[20:40, 40:60] = 100
    assert len(tiled(detector, whole=False)(image)) > 1


def test_an_empty_image_has_no_boxes() -> None:
    assert len(tiled()(np.zeros((200, 200, 3), np.uint8))) == 0


@pytest.mark.parametrize("overlap", [-0.1, 0.95])
def test_an_overlap_out_of_range_is_refused(overlap: float) -> None:
    with pytest.raises(DataError, match=r"overlap of tiles: expected 0\.\.0\.9"):
        tiled(overlap=overlap)


def test_photographs_across_tile_edges_give_the_boxes_of_each_alone(
    shared: pathlib.Path, yolov4_tiny_weights: pathlib.Path
) -> None:
    """Nine photographs on a large canvas, which is reduced to the input size unless it is tiled."""
    net = dk.load("yolov4-tiny", yolov4_tiny_weights)
    detector = dk.Detector(net, threshold=0.5)
    names = ("dog", "horses", "giraffe", "person", "eagle", "dog", "person", "horses", "dog")
    canvas = Image.new("RGB", (1500, 1200), (114, 114, 114))
    expected: list[tuple[int, list[float]]] = []
    for number, name in enumerate(names):
        corner = (500 * (number % 3) + 7 * number, 400 * (number // 3) + 5 * number)
        with Image.open(shared / "data" / "photographs" / f"{name}.jpg") as photograph:
            part = photograph.resize((416, 300))
        canvas.paste(part, corner)
        boxes = detector(part).boxes
        for cls, (x1, y1, x2, y2) in zip(boxes.cls.tolist(), boxes.xyxy.tolist(), strict=True):
            expected.append((cls, [x1 + corner[0], y1 + corner[1], x2 + corner[0], y2 + corner[1]]))
    targets = xyxy_to_xywh(torch.tensor([box for _, box in expected]))
    classes = torch.tensor([cls for cls, _ in expected])

    def hits(boxes: dk.Boxes) -> list[int]:
        same = (iou(targets[:, None], boxes.xywh[None]) > 0.5) & (classes[:, None] == boxes.cls[None])
        return [int(count) for count in same.sum(dim=1)]

    tiled_hits = hits(TiledDetector(detector)(canvas).boxes)
    assert max(tiled_hits) == 1
    # Two cars are missing: at another size they are detected as trucks.
    assert sum(tiled_hits) >= 0.85 * len(expected) > 22
    assert sum(hits(detector(canvas).boxes)) < 0.5 * len(expected)


class ListedDetector(GreyDetector):
    """A fake detector that returns the listed boxes of each tile: rows (x1, y1, x2, y2, confidence)."""

    def __init__(self, *tiles: list[tuple[float, ...]]) -> None:
        super().__init__()
        self.tiles = tiles

    def stream(self, sources: Iterable[ImageSource], *, workers: int = 1) -> Iterator[Results]:
        for source, boxes in zip(sources, self.tiles, strict=True):
            height, width = cast(ImageArray, source).shape[:2]
            table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)
            xywhn = xyxy_to_xywh(table[:, :4]) / torch.tensor([width, height, width, height])
            classes = torch.zeros(len(table), dtype=torch.long)
            yield Results(xywhn, table[:, 4], classes, shape=(height, width), speed={"inference": 1.0})


def merge_two(*tiles: list[tuple[float, ...]]) -> list[list[int]]:
    """Merge boxes of two tiles, x in 0..64 and 36..100 of an image 100 x 64; boxes are relative to their tile."""
    result = tiled(ListedDetector(*tiles), overlap=0.25, whole=False)(np.zeros((64, 100, 3), np.uint8))
    return [list(map(int, row)) for row in result.boxes.xyxy.round().tolist()]


def test_a_box_that_ends_near_an_edge_of_its_tile_is_cut() -> None:
    """Within 2 % of a tile's side, 1.28 pixels here, it is extended by the box of the other tile."""
    assert merge_two([(20, 10, 63, 50, 0.9)], [(0, 10, 44, 50, 0.8)]) == [[20, 10, 80, 50]]
    assert merge_two([(20, 10, 60, 50, 0.9)], [(0, 10, 44, 50, 0.8)]) == [[20, 10, 60, 50]]


def test_a_box_at_an_edge_of_the_image_is_not_cut() -> None:
    assert merge_two([(0, 0, 50, 64, 0.9)], [(0, 0, 16, 60, 0.8)]) == [[0, 0, 50, 64]]
    assert merge_two([(30, 0, 64, 60, 0.8)], [(4, 0, 64, 64, 0.9)]) == [[40, 0, 100, 64]]


def test_a_cut_box_inside_an_uncut_one_is_suppressed() -> None:
    """More than 70 % of its area must be inside, within the intersection of the tiles."""
    uncut = (38, 10, 60, 50, 0.5)
    assert merge_two([uncut], [(0, 10, 8, 20, 0.9)]) == [[38, 10, 60, 50]]
    assert merge_two([uncut], [(0, 10, 6, 20, 0.9)]) == [[36, 10, 42, 20], [38, 10, 60, 50]]


def test_boxes_of_one_tile_are_not_merged() -> None:
    pair: list[tuple[float, ...]] = [(4.0, 10.0, 30.0, 50.0, 0.9), (5.0, 10.0, 31.0, 50.0, 0.8)]
    assert merge_two(pair, []) == [[4, 10, 30, 50], [5, 10, 31, 50]]


def test_the_limit_of_pixels_holds_for_tiles(tmp_path: pathlib.Path) -> None:
    Image.new("RGB", (100, 80)).save(tmp_path / "a.png")
    detector = dk.Detector(
        random_networks.network(
            "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=7\n[yolo]\nclasses=2\nnum=1\nanchors=8,8\n"
        ),
        max_pixels=7999,
    )
    with pytest.raises(DataError, match=r"a\.png: 100x80 are 8,000 pixels, more than the limit of 7,999"):
        TiledDetector(detector)(tmp_path / "a.png")
