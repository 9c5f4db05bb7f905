from __future__ import annotations

from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from darknet_py.evaluation import average_precision as ap
from darknet_py.evaluation.confusion import confusion
from darknet_py.evaluation.detections import Detections
from darknet_py.evaluation.evaluator import score
from tests.helpers.random_detections import data_of, detections

_A, _B, _FAR = (0.3, 0.3, 0.2, 0.2), (0.7, 0.7, 0.2, 0.2), (0.1, 0.9, 0.05, 0.05)
_NEAR_A = (0.32, 0.3, 0.2, 0.2)  # overlaps _A by 0.818


def test_a_case_by_hand() -> None:
    """Class a: right at .9, wrong at .8, a second one of a found object at .7, right at .6; of 3 objects."""
    dataset = data_of([[[*_A, 0], [*_B, 0]], [[*_A, 0]]])
    found = detections([(0, 0, 0.9, _A), (0, 0, 0.8, _FAR), (0, 0, 0.7, _NEAR_A), (1, 0, 0.6, _A)], 2)
    result = score(dataset, found, threshold=0.65)
    a, b, _ = result.classes
    assert a.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 4)
    assert (a.objects, a.tp, a.fp, a.fn) == (3, 1, 2, 2)
    assert (a.precision, a.recall) == pytest.approx((1 / 3, 1 / 3))
    assert (b.objects, b.average_precision, b.precision, b.recall, b.f1) == (0, 0, 0, 0, 0)
    assert result.map == pytest.approx(a.average_precision / 3)
    assert (a.best_threshold, a.best_f1) == pytest.approx((0.6, 2 * 2 / (4 + 3)))
    assert score(dataset, found, points=11).classes[0].average_precision == pytest.approx((4 + 3 * 0.5) / 11)
    assert score(dataset, found, "voc07").map == pytest.approx((4 + 3 * 0.5) / 11)  # the other classes are absent


def test_a_duplicate_is_wrong_though_another_object_is_free() -> None:
    """Darknet and VOC alike: matching is by the largest overlap, not by what is left."""
    crowd = [[[0.3, 0.3, 0.2, 0.2, 0], [0.36, 0.3, 0.2, 0.2, 0]]]
    found = detections([(0, 0, 0.9, (0.3, 0.3, 0.2, 0.2)), (0, 0, 0.8, (0.32, 0.3, 0.2, 0.2))], 1)
    for protocol in ("darknet", "voc07"):
        assert score(data_of(crowd), found, protocol).classes[0].tp == 1


def test_the_overlap_must_exceed_darknets_threshold_and_reach_vocs() -> None:
    dataset = data_of([[[0.25, 0.5, 0.5, 1.0, 0]]])
    found = detections([(0, 0, 0.9, (0.5, 0.5, 1.0, 1.0))], 1)  # overlap 0.5, to the bit
    assert score(dataset, found, "darknet").classes[0].tp == 0
    assert score(dataset, found, "darknet", iou_threshold=0.49).classes[0].tp == 1
    assert score(dataset, found, "voc07").classes[0].tp == 1


def test_first_counts_in_c_order_for_darknets_tp_but_by_confidence_for_its_curve() -> None:
    dataset = data_of([[[*_A, 0]]])
    found = detections([(0, 0, 0.2, _A), (0, 0, 0.9, _NEAR_A)], 1)
    result = score(dataset, found)
    assert (result.all.tp, result.all.fp) == (0, 1)
    assert result.classes[0].average_precision == 1
    other = score(dataset, found, "voc07")
    assert (other.all.tp, other.all.fp) == (1, 0)


def test_difficult_objects() -> None:
    """Left out of Darknet's curve but wrong in its counts; left out of both in VOC's."""
    dataset = data_of([[[*_A, 0]]], [[[*_B, 0]]])
    found = detections([(0, 0, 0.9, _B), (0, 0, 0.8, _A), (0, 1, 0.7, _B)], 1)
    darknet, voc = score(dataset, found), score(dataset, found, "voc07")
    assert darknet.classes[0].average_precision == voc.classes[0].average_precision == 1
    assert (darknet.classes[0].tp, darknet.classes[0].fp) == (1, 1)
    assert (voc.classes[0].tp, voc.classes[0].fp) == (1, 0)
    assert darknet.classes[1].fp == voc.classes[1].fp == 1  # an ignored object excuses its own class alone
    assert " detections_count = 2, unique_truth_count = 1  " in darknet.lines()


@pytest.mark.parametrize("protocol", ["darknet", "voc07"])
def test_nothing_found_and_nothing_there(protocol: str) -> None:
    nothing, something = data_of([[]]), data_of([[[*_A, 0]]])
    assert score(something, detections([], 1), protocol).map == 0
    assert score(nothing, detections([(0, 0, 0.9, _A)], 1), protocol).map == 0
    assert score(nothing, detections([], 1), protocol).map == 0


def test_the_confusion_matrix_pairs_by_overlap_whatever_the_class() -> None:
    targets = ap.objects(data_of([[[*_A, 0], [*_B, 1]], [[*_A, 2]]]))
    found = detections([(0, 1, 0.9, _NEAR_A), (0, 0, 0.8, _A), (0, 1, 0.3, _B), (1, 2, 0.2, _A), (1, 0, 0.9, _FAR)], 2)
    assert confusion(found, targets, 3).tolist() == [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_a_recall_of_three_fifths_does_not_reach_the_seventh_of_eleven_points() -> None:
    assert ap.curve(np.ones(3, np.float32), np.ones(3, np.bool_), 5).average_precision(11) == pytest.approx(6 / 11)


def _walk(found: Detections, matches: ap.Matches, objects: int, number: int, points: int) -> float:
    """AP of a class as the C code goes about it: rank by rank over the detections of all classes."""
    order = sorted(np.flatnonzero(matches.counted), key=lambda row: -found.confidence[row])
    seen: set[int] = set()
    hits = misses = 0
    ranks = []
    for row in order:
        target = int(matches.target[row])
        if found.classes[row] == number:
            hits, misses = hits + (target >= 0 and target not in seen), misses + (target < 0 or target in seen)
        seen.add(target)
        ranks.append((hits / (hits + misses) if hits + misses else 0.0, hits / objects if objects else 0.0))
    if not ranks:
        return 0.0
    if points:
        at = [i * (1 / (points - 1)) for i in range(points)]
        return sum(max((p for p, r in ranks if r >= least), default=0.0) for least in at) / points
    best, recall = ranks[-1]
    area = 0.0
    for p, r in reversed(ranks[:-1]):
        best, area, recall = max(best, p), area + (recall - r) * max(best, p), r
    return area + recall * best


_BOX = st.tuples(*[st.integers(2, 8).map(lambda n: n / 10)] * 2, *[st.integers(1, 4).map(lambda n: n / 10)] * 2)
_ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), _BOX), max_size=14)


@given(_ROWS, _ROWS, st.sampled_from([0, 2, 11, 101]), st.randoms(use_true_random=False))
def test_areas_are_those_of_cs_walk(
    targets: list[tuple[int, int, tuple[float, ...]]],
    boxes: list[tuple[int, int, tuple[float, ...]]],
    points: int,
    random: Random,
) -> None:
    dataset = data_of([[[*box, k] for image, k, box in targets if image == n] for n in range(3)])
    ranks = list(range(len(boxes)))
    random.shuffle(ranks)
    rows = [(image, k, (rank + 1) / 20, box) for rank, (image, k, box) in zip(ranks, boxes, strict=True)]
    found = detections(rows, 3)  # type: ignore[arg-type]
    objects = ap.objects(dataset)
    matches = ap.match_darknet(found, objects)
    counts = objects.counts(3)
    for number, curve in enumerate(ap.curves(found, matches, counts)):
        area = curve.average_precision(points)
        assert 0 <= area <= 1
        assert area == pytest.approx(_walk(found, matches, int(counts[number]), number, points), abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 10))
def test_many_recalls_approach_the_area(right: list[bool], missing: int) -> None:
    confidence = np.linspace(1, 0.1, len(right)).astype(np.float32)
    curve = ap.curve(confidence, np.array(right), sum(right) + missing)
    assert curve.average_precision(20001) == pytest.approx(curve.average_precision(), abs=2e-3)
    at, best = curve.best()
    assert best == pytest.approx(max(curve.f1, default=0))
    assert at in confidence
