"""Boxes of each head against loops over cells, anchors and classes, on random inputs.

The golden values cover one input per head; these tests vary the number of images, the size of the map and the
threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darknet_py.boxes import NMSKind, NMSOptions, RawDetections
from darknet_py.cfg import Dialect
from darknet_py.errors import UnusedOptionWarning
from darknet_py.layers import DecodeOptions, Head, Shape
from tests.helpers import random_networks

Row = tuple[list[float], float, list[float]]  # box, objectness, probability of each class
SIZE = (96, 64)  # width and height of the network's input
ANCHORS = (10.0, 14.0, 23.0, 27.0, 37.0, 58.0)


def head(name: str, keys: dict[str, str], shape: Shape, dialect: Dialect = Dialect.ALEXEYAB) -> Head:
    layer = random_networks.layer(name, keys, shape, dialect=dialect)
    assert isinstance(layer, Head)
    return layer


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def assert_detections(detections: list[RawDetections], expected: list[list[Row]]) -> None:
    for image_detections, rows in zip(detections, expected, strict=True):
        for tensor, part in zip(image_detections, zip(*rows, strict=True) if rows else ([], [], []), strict=True):
            values = torch.tensor(part).reshape(tensor.shape)
            torch.testing.assert_close(tensor, values, rtol=2e-5, atol=2e-6)


def rows_above(rows: Iterator[Row], threshold: float) -> list[Row]:
    """Set probabilities that are not above the threshold to 0."""
    return [(box, obj, [p if p > threshold else 0.0 for p in probs]) for box, obj, probs in rows]


shapes = st.tuples(st.integers(1, 4), st.integers(1, 4))
seeds = st.integers(0, 2**31)
thresholds = st.sampled_from([0.0, 0.1003, 0.2501, 0.6007])


def yolo_rows(x: Tensor, new_coords: bool, scale: float, mask: list[int], threshold: float) -> Iterator[Row]:
    """``forward_yolo_layer`` and ``get_yolo_detections`` for one image [anchors, entries, height, width]."""
    _, _, height, width = x.shape
    for j in range(height):
        for i in range(width):
            for n, anchor in enumerate(mask):
                t = x[n, :, j, i].tolist()
                s = t if new_coords else [sigmoid(v) for v in t]
                xy = [(i + s[0] * scale - (scale - 1) / 2) / width, (j + s[1] * scale - (scale - 1) / 2) / height]
                factors = [(2 * v) ** 2 for v in t[2:4]] if new_coords else [math.exp(v) for v in t[2:4]]
                wh = [factors[k] * ANCHORS[2 * anchor + k] / SIZE[k] for k in (0, 1)]
                if s[4] > threshold:
                    yield xy + wh, s[4], [s[4] * v for v in s[5:]]


@settings(max_examples=30)
@given(shapes, seeds, thresholds, st.sampled_from([1.0, 1.05, 2.0]), st.booleans(), st.sampled_from(Dialect))
def test_yolo_boxes_equal_the_loop(
    shape: tuple[int, int], seed: int, threshold: float, scale: float, new_coords: bool, dialect: Dialect
) -> None:
    keys = {"classes": "2", "num": "3", "mask": "2,0", "anchors": ",".join(map(str, ANCHORS))}
    keys |= {"scale_x_y": str(scale), "new_coords": str(int(new_coords))}
    layer = head("yolo", keys, Shape(14, *shape), dialect)
    x = random_networks.random(2, 14, *shape, seed=seed, low=0.01 if new_coords else -2, high=1 if new_coords else 2)
    if dialect is Dialect.PJREDDIE:  # knows neither key
        new_coords, scale = False, 1.0
    expected = [rows_above(yolo_rows(p.view(2, 7, *shape), new_coords, scale, [2, 0], threshold), threshold) for p in x]
    assert_detections(layer.decode(layer(x), SIZE, DecodeOptions(threshold)), expected)


def gaussian_rows(x: Tensor, point: str, threshold: float) -> Iterator[Row]:
    """``get_gaussian_yolo_detections`` for one image [anchors, entries, height, width]."""
    _, _, height, width = x.shape
    shift = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}[point]
    for j in range(height):
        for i in range(width):
            for n in range(len(x)):
                t = x[n, :, j, i].tolist()
                s = [sigmoid(v) for v in t]
                w, h = math.exp(t[4]) * ANCHORS[2 * n] / SIZE[0], math.exp(t[6]) * ANCHORS[2 * n + 1] / SIZE[1]
                box = [(i + 1.1 * s[0] - 0.05) / width + shift * w, (j + 1.1 * s[2] - 0.05) / height + shift * h, w, h]
                certainty = 1 - (s[1] + s[3] + s[5] + s[7]) / 4
                if s[8] > threshold:
                    yield box, s[8], [s[8] * v * certainty for v in s[9:]]


@settings(max_examples=20)
@given(shapes, seeds, thresholds, st.sampled_from(["center", "left_top", "right_bottom"]))
def test_gaussian_yolo_boxes_equal_the_loop(shape: tuple[int, int], seed: int, threshold: float, point: str) -> None:
    keys = {"classes": "2", "num": "2", "anchors": "10,14,23,27", "scale_x_y": "1.1", "yolo_point": point}
    layer = head("Gaussian_yolo", keys, Shape(22, *shape))
    x = random_networks.random(2, 22, *shape, seed=seed, low=-2, high=2)
    expected = [rows_above(gaussian_rows(p.view(2, 11, *shape), point, threshold), threshold) for p in x]
    assert_detections(layer.decode(layer(x), SIZE, DecodeOptions(threshold)), expected)


def detection_rows(flat: list[float], side: int, num: int, classes: int, is_sqrt: bool) -> Iterator[Row]:
    """``get_detection_detections`` for one image."""
    objectness, boxes = flat[side * side * classes :], flat[side * side * (classes + num) :]
    for cell in range(side * side):
        for n in range(num):
            x, y, w, h = boxes[4 * (cell * num + n) :][:4]
            xy = [(cell % side + x) / side, (cell // side + y) / side]
            scale = objectness[cell * num + n]
            wh = [w * w, h * h] if is_sqrt else [w, h]
            yield xy + wh, scale, [scale * p for p in flat[cell * classes :][:classes]]


@settings(max_examples=20)
@given(st.integers(1, 3), seeds, thresholds, st.booleans())
def test_detection_boxes_equal_the_loop(side: int, seed: int, threshold: float, is_sqrt: bool) -> None:
    keys = {"classes": "3", "coords": "4", "num": "2", "side": str(side), "sqrt": str(int(is_sqrt))}
    layer = head("detection", keys, Shape(13 * side * side, 1, 1))
    x = random_networks.random(2, 13 * side * side, 1, 1, seed=seed, low=0.01)
    expected = [rows_above(detection_rows(p.flatten().tolist(), side, 2, 3, is_sqrt), threshold) for p in x]
    expected = [[row for row in rows if any(row[2])] for rows in expected]
    assert_detections(layer.decode(layer(x), SIZE, DecodeOptions(threshold)), expected)


def test_detection_softmax_is_over_the_classes_of_a_cell() -> None:
    layer = head("detection", {"classes": "3", "coords": "4", "num": "1", "side": "2", "softmax": "1"}, Shape(32, 1, 1))
    x = random_networks.random(2, 32, 1, 1)
    y = layer(x)
    torch.testing.assert_close(y[:, :12].reshape(2, 4, 3), x[:, :12].reshape(2, 4, 3).softmax(dim=2))
    assert torch.equal(y[:, 12:], x[:, 12:])


@pytest.mark.parametrize("name", ["yolo", "Gaussian_yolo"])
def test_the_threshold_is_strict_and_nan_is_never_above_it(name: str) -> None:
    entries = 6 if name == "yolo" else 10
    layer = head(name, {"classes": "1", "num": "1", "anchors": "8,8"}, Shape(entries, 1, 3))
    output = torch.full((1, entries, 1, 3), 0.5)
    output[0, entries - 2 :, 0, 0] = torch.nan
    output[0, entries - 1, 0, 1] = 1.0  # objectness 0.5 exactly
    output[0, entries - 2, 0, 2] = 0.75
    assert len(layer.decode(output, SIZE, DecodeOptions(0.5))[0].boxes) == 1
    assert len(layer.decode(output, SIZE, DecodeOptions(0.4999))[0].boxes) == 2


@pytest.mark.parametrize("name", ["yolo", "Gaussian_yolo"])
def test_nms_options_follow_the_keys_and_the_dialect(name: str) -> None:
    shape = Shape(6 if name == "yolo" else 10, 1, 1)
    keys = {"classes": "1", "num": "1", "nms_kind": "diounms", "beta_nms": "0.9"}
    assert head(name, keys, shape).nms_options == NMSOptions(NMSKind.DIOUNMS, 0.9)
    assert head(name, {"classes": "1", "num": "1"}, shape).nms_options == NMSOptions(NMSKind.DEFAULT)
    assert head("yolo", keys, Shape(6, 1, 1), Dialect.PJREDDIE).nms_options == NMSOptions(NMSKind.DEFAULT)


def test_missing_anchors_are_half_a_pixel() -> None:
    text = "[net]\nwidth=1\nheight=1\nchannels=12\n[yolo]\nclasses=1\nnum=2\nanchors=8,4\n"
    with pytest.warns(UnusedOptionWarning, match="anchors= has 1 pairs: expected num=1, got 2"):
        layer = random_networks.network(text).heads[0]
    detections = layer.decode(layer(torch.zeros(1, 12, 1, 1)), (16, 16), DecodeOptions(0.1))[0]
    assert detections.boxes[:, 2:].tolist() == [[0.5, 0.25], [0.5 / 16, 0.5 / 16]]
