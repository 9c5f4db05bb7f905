"""Overlap and NMS against loops over boxes in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from darknet_py import _nms, boxes
from darknet_py.boxes import NMSKind, NMSOptions, RawDetections
from tests.helpers.random_networks import random

Box = list[float]
Overlap = Callable[[Box, Box], float]

THRESHOLD = 0.4503  # no overlap of boxes on a grid of 1/16 is within rounding of it


def corners(a: Box, b: Box) -> tuple[list[Box], list[Box]]:
    """Return the lefts and tops of both boxes, and their rights and bottoms."""
    low = [[box[k] - box[k + 2] / 2 for box in (a, b)] for k in (0, 1)]
    high = [[box[k] + box[k + 2] / 2 for box in (a, b)] for k in (0, 1)]
    return low, high


def loop_iou(a: Box, b: Box) -> float:
    """``box_iou``."""
    low, high = corners(a, b)
    width, height = min(high[0]) - max(low[0]), min(high[1]) - max(low[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if shared and union else 0.0


def loop_diou(a: Box, b: Box, exponent: float) -> float:
    """``box_diou`` and ``box_diounms``."""
    low, high = corners(a, b)
    diagonal = (max(high[0]) - min(low[0])) ** 2 + (max(high[1]) - min(low[1])) ** 2
    distance = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
    return loop_iou(a, b) - ((distance / diagonal) ** exponent if diagonal else 0.0)


RULES: dict[NMSKind, Callable[[float], Overlap]] = {
    NMSKind.DEFAULT: lambda beta: loop_iou,
    NMSKind.CORNERSNMS: lambda beta: loop_iou,
    NMSKind.GREEDYNMS: lambda beta: lambda a, b: loop_diou(a, b, 0.6),
    NMSKind.DIOUNMS: lambda beta: lambda a, b: loop_diou(a, b, beta),
}


def loop_nms(detections: RawDetections, threshold: float, overlap: Overlap) -> list[list[float]]:
    """``do_nms_sort``: class by class, highest score first; a suppressed box suppresses no other."""
    xywh, probs = detections.boxes.tolist(), detections.probs.tolist()
    for k in range(detections.probs.shape[1]):
        order = sorted(range(len(probs)), key=lambda row: -probs[row][k])
        for rank, i in enumerate(order):
            if probs[i][k] == 0:
                continue
            for j in order[rank + 1 :]:
                if overlap(xywh[i], xywh[j]) > threshold:
                    probs[j][k] = 0.0
    return probs


SIXTEENTHS = st.integers(0, 16).map(lambda n: n / 16)
BOXES = st.tuples(SIXTEENTHS, SIXTEENTHS, SIXTEENTHS, SIXTEENTHS)


@st.composite
def candidates(draw: st.DrawFn) -> RawDetections:
    """Boxes on a grid; no two probabilities of a class are equal unless they are 0."""
    rows = draw(st.lists(BOXES, min_size=1, max_size=14))
    columns = [draw(st.permutations(range(len(rows)))) for _ in range(draw(st.integers(1, 3)))]
    probs = torch.tensor(columns, dtype=torch.float64).t().clamp(min=2) - 2
    return RawDetections(torch.tensor(rows, dtype=torch.float64), torch.ones(len(rows)), probs / len(rows))


DARKNETS = [kind for kind in NMSKind if kind.is_darknets]  # the others: test_soft_nms.py
OPTIONS = st.builds(NMSOptions, st.sampled_from(DARKNETS), st.sampled_from([0.3, 0.6, 1.0]))


@given(st.lists(st.tuples(BOXES, BOXES), min_size=1, max_size=30))
def test_iou_and_diou_equal_the_loop(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    a, b = (torch.tensor([pair[side] for pair in pairs], dtype=torch.float64) for side in (0, 1))
    for beta in (0.6, 1.0):
        expected = torch.tensor([loop_diou(list(p), list(q), beta) for p, q in pairs], dtype=torch.float64)
        torch.testing.assert_close(boxes.diou(a, b, beta), expected, rtol=0, atol=1e-12)
    expected = torch.tensor([loop_iou(list(p), list(q)) for p, q in pairs], dtype=torch.float64)
    torch.testing.assert_close(boxes.iou(a, b), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(boxes.iou(a, b), boxes.iou(b, a), rtol=0, atol=0)


def test_overlap_of_boxes_without_an_area() -> None:
    point = torch.tensor([0.5, 0.5, 0.0, 0.0])
    square = torch.tensor([0.5, 0.5, 1.0, 1.0])
    assert boxes.iou(point, point) == 0
    assert boxes.diou(point, point, 0.6) == 0
    assert boxes.iou(square, square) == boxes.diou(square, square, 0.6) == 1
    assert boxes.iou(square, square + torch.tensor([1.0, 0, 0, 0])) == 0  # adjacent squares
    distant = boxes.diou(square, square + torch.tensor([1.0, 0, 0, 0]), 0.6)
    assert distant.item() == pytest.approx(-((1 / 5) ** 0.6))


def test_greedynms_subtracts_a_distance_term() -> None:
    a, b = torch.tensor([0.5, 0.5, 0.4, 0.4]), torch.tensor([0.6, 0.5, 0.4, 0.4])
    greedy = NMSOptions(NMSKind.GREEDYNMS, beta=1.0).overlap(a, b)
    assert greedy.item() == pytest.approx(0.6 - (0.01 / (0.25 + 0.16)) ** 0.6, abs=1e-6)
    assert NMSOptions(NMSKind.DIOUNMS, beta=1.0).overlap(a, b).item() == pytest.approx(0.6 - 0.01 / 0.41, abs=1e-6)
    assert NMSOptions(NMSKind.CORNERSNMS).overlap(a, b).item() == pytest.approx(0.6, abs=1e-6)


@given(candidates(), OPTIONS, st.sampled_from([0, 100]))
def test_nms_equals_the_loop_over_boxes(detections: RawDetections, options: NMSOptions, few: int) -> None:
    with mock.patch.object(_nms, "_FEW", few):
        kept = boxes.batched_nms(detections, THRESHOLD, options).probs
    assert kept.tolist() == loop_nms(detections, THRESHOLD, RULES[options.kind](options.beta))


@given(candidates(), OPTIONS)
def test_nms_is_idempotent(detections: RawDetections, options: NMSOptions) -> None:
    once = boxes.batched_nms(detections, THRESHOLD, options)
    assert torch.equal(boxes.batched_nms(once, THRESHOLD, options).probs, once.probs)
    assert torch.equal(once.boxes, detections.boxes)
    assert ((once.probs == 0) | (once.probs == detections.probs)).all()
    for column, before in zip(once.probs.unbind(1), detections.probs.unbind(1), strict=True):
        assert column.max() == before.max(), "the box of the highest score of a class is kept"


@given(candidates(), OPTIONS, st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(detections: RawDetections, options: NMSOptions, rng: object) -> None:
    order = list(range(len(detections.boxes)))
    rng.shuffle(order)  # type: ignore[attr-defined]
    shuffled = RawDetections(*(part[order] for part in detections))
    kept = boxes.batched_nms(detections, THRESHOLD, options).probs
    assert torch.equal(boxes.batched_nms(shuffled, THRESHOLD, options).probs, kept[order])


@given(candidates(), OPTIONS)
def test_classes_are_suppressed_independently(detections: RawDetections, options: NMSOptions) -> None:
    whole = boxes.batched_nms(detections, THRESHOLD, options).probs
    for k in range(whole.shape[1]):
        alone = detections._replace(probs=detections.probs[:, k : k + 1])
        assert torch.equal(boxes.batched_nms(alone, THRESHOLD, options).probs[:, 0], whole[:, k])


@pytest.mark.parametrize("kind", DARKNETS)
def test_nms_of_more_boxes_than_one_block(kind: NMSKind, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 300
    monkeypatch.setattr(_nms, "_FIRST_BLOCK", 16)
    monkeypatch.setattr(_nms, "_LAST_BLOCK", 64)
    monkeypatch.setattr(_nms, "_PAIRS", 100)
    xywh = random(count, 4, low=0.0, high=1.0).double()
    xywh[:, 2:] = 0.02 + 0.15 * xywh[:, 2:]
    probs = torch.randperm(count, generator=torch.Generator().manual_seed(1))[:, None].double() / count
    detections = RawDetections(xywh, torch.ones(count), probs)
    kept = boxes.batched_nms(detections, 0.2, NMSOptions(kind)).probs
    assert 0 < (kept > 0).sum() < count - 20
    assert kept.tolist() == loop_nms(detections, 0.2, RULES[kind](0.6))


@pytest.mark.parametrize("kind", DARKNETS)
def test_an_overlap_equal_to_the_threshold_suppresses_nothing(kind: NMSKind) -> None:
    pair = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 0.5]])  # one centre, half the area
    assert boxes.nms_keep(pair, 0.5, NMSOptions(kind)).all()
    assert boxes.nms_keep(pair, 0.4999, NMSOptions(kind)).tolist() == [True, False]


def assert_survivors_of_all_pairs(xywh: Tensor, cls: Tensor, threshold: float, options: NMSOptions) -> None:
    """Compare ``greedy_nms`` with the comparison of all pairs."""
    suppresses = options.overlap(xywh[:, None], xywh[None]) > threshold
    suppresses &= cls[:, None] == cls[None]
    expected = torch.ones(len(xywh), dtype=torch.bool)
    for row in range(len(xywh)):
        if expected[row]:
            expected[row + 1 :] &= ~suppresses[row, row + 1 :]
    for few in (0, 100):  # boxes of which all pairs are compared
        with mock.patch.object(_nms, "_FEW", few):
            assert torch.equal(_nms.greedy_nms(xywh, cls, threshold, options.overlap), expected)


SIDES = st.sampled_from(
    [0.0, 1e-8, 3e-8, 1e-7, 1e-6, 1e-5, 1e-3, 0.01, 0.1, 0.3, 1.0, 100.0, 1e20, float("inf"), float("nan")]
)


@given(
    st.integers(1, 80), st.integers(1, 3), st.integers(0, 10**6), st.lists(SIDES, min_size=1, max_size=6),
    st.sampled_from([1e-6, 0.1, 0.45, 0.7, 0.99]), OPTIONS, st.booleans(),
)  # fmt: skip
def test_the_search_for_neighbours_misses_no_pair(
    count: int, classes: int, seed: int, sides: list[float], threshold: float, options: NMSOptions, clustered: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    choice = torch.randint(len(sides), (count, 2), generator=generator)
    wh = torch.tensor(sides)[choice] * torch.rand(count, 2, generator=generator).clamp(min=0.5)
    centres = torch.rand(count, 2, generator=generator)
    if clustered:  # as close as the sides of small boxes
        centres = 0.5 + (centres - 0.5) * min(sides)
    xywh, cls = torch.cat((centres, wh), dim=1), torch.randint(classes, (count,), generator=generator)
    assert_survivors_of_all_pairs(xywh, cls, threshold, options)


@pytest.mark.parametrize("kind", DARKNETS)
def test_many_boxes_give_the_survivors_of_all_pairs(kind: NMSKind) -> None:
    count, options = 3000, NMSOptions(kind)
    xywh, cls = random(count, 4, low=0.0), random(count, low=0.0, high=4.0).long()
    for longest, threshold in ((0.02, 0.45), (0.15, 0.45), (1.0, 0.2), (1.0, 0.7)):
        scaled = xywh * torch.tensor([1.0, 1.0, longest, longest])
        assert_survivors_of_all_pairs(scaled, cls, threshold, options)


def test_nms_of_no_boxes() -> None:
    empty = RawDetections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 3))
    assert boxes.batched_nms(empty, 0.45, NMSOptions()).probs.shape == (0, 3)


@given(st.lists(BOXES, min_size=1))
def test_conversions_of_box_formats_are_inverse(rows: list[tuple[float, ...]]) -> None:
    xywh = torch.tensor(rows)
    xyxy = boxes.xywh_to_xyxy(xywh)
    assert torch.equal(xyxy[:, 2:] - xyxy[:, :2], xywh[:, 2:])
    assert torch.equal(boxes.xyxy_to_xywh(xyxy), xywh)


SIDE = st.integers(1, 2000)


@given(SIDE, SIDE, st.integers(32, 1000), st.integers(32, 1000))
def test_a_letterboxed_image_fits_and_fills_one_side(width: int, height: int, across: int, down: int) -> None:
    inner = boxes.letterbox_size((width, height), (across, down))
    assert inner[0] == across or inner[1] == down
    assert inner[0] <= across
    assert inner[1] <= down
    exact = [side * min(across / width, down / height) for side in (width, height)]
    assert all(math.floor(n) - k in (0, -1) for n, k in zip(exact, inner, strict=True))


@given(st.integers(10, 2000), st.integers(10, 2000), st.integers(32, 1000), st.integers(32, 1000))
def test_undo_letterbox_maps_boxes_to_the_image(width: int, height: int, across: int, down: int) -> None:
    net, (inner_width, inner_height) = (across, down), boxes.letterbox_size((width, height), (across, down))
    if not inner_width or not inner_height:
        return
    whole = torch.tensor([[0.5, 0.5, inner_width / across, inner_height / down]], dtype=torch.float64)
    back = boxes.undo_letterbox(whole, (width, height), net)
    torch.testing.assert_close(back, torch.tensor([[0.5, 0.5, 1, 1]], dtype=torch.float64))
    corner = whole * torch.tensor([1, 1, 0, 0]) - whole[:, [2, 3, 2, 3]] / 2 * torch.tensor([1, 1, 0, 0])
    torch.testing.assert_close(
        boxes.undo_letterbox(corner, (width, height), net), torch.zeros(1, 4, dtype=torch.float64), atol=1e-9, rtol=0
    )
