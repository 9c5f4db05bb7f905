from __future__ import annotations

from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from darknet_py.evaluation import average_precision as ap
from darknet_py.evaluation.confusion import compute_confusion_matrix
from darknet_py.evaluation.detections import Detections
from darknet_py.evaluation.evaluator import evaluate_detections
from tests.helpers.random_detections import make_dataset, make_detections

_A, _B, _FAR = (0.3, 0.3, 0.2, 0.2), (0.7, 0.7, 0.2, 0.2), (0.1, 0.9, 0.05, 0.05)
_NEAR_A = (0.32, 0.3, 0.2, 0.2)  # IoU with _A: 0.818


def test_a_case_computed_by_hand() -> None:
    """Class a, 3 targets: TP at .9, FP at .8, a duplicate of a matched target at .7, TP at .6."""
    dataset = make_dataset([[[*_A, 0], [*_B, 0]], [[*_A, 0]]])
    detections = make_detections([(0, 0, 0.9, _A), (0, 0, 0.8, _FAR), (0, 0, 0.7, _NEAR_A), (1, 0, 0.6, _A)], 2)
    result = evaluate_detections(dataset, detections, threshold=0.65)
    a, b, _ = result.classes
    assert a.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 4)
    assert (a.targets, a.tp, a.fp, a.fn) == (3, 1, 2, 2)
    assert (a.precision, a.recall) == pytest.approx((1 / 3, 1 / 3))
    assert (b.targets, b.average_precision, b.precision, b.recall, b.f1) == (0, 0, 0, 0, 0)
    assert result.map == pytest.approx(a.average_precision / 3)
    assert (a.best_threshold, a.best_f1) == pytest.approx((0.6, 2 * 2 / (4 + 3)))
    assert evaluate_detections(dataset, detections, points=11).classes[0].average_precision == pytest.approx(
        (4 + 3 * 0.5) / 11
    )
    assert evaluate_detections(dataset, detections, "voc07").map == pytest.approx(
        (4 + 3 * 0.5) / 11
    )  # the other classes have no targets


def test_a_duplicate_is_a_false_positive_even_where_another_target_is_free() -> None:
    """In Darknet and VOC a detection is matched to the largest IoU only, not to the largest of the free targets."""
    crowd = [[[0.3, 0.3, 0.2, 0.2, 0], [0.36, 0.3, 0.2, 0.2, 0]]]
    detections = make_detections([(0, 0, 0.9, (0.3, 0.3, 0.2, 0.2)), (0, 0, 0.8, (0.32, 0.3, 0.2, 0.2))], 1)
    for protocol in ("darknet", "voc07"):
        assert evaluate_detections(make_dataset(crowd), detections, protocol).classes[0].tp == 1


def test_the_iou_must_exceed_darknets_threshold_and_reach_vocs() -> None:
    dataset = make_dataset([[[0.25, 0.5, 0.5, 1.0, 0]]])
    detections = make_detections([(0, 0, 0.9, (0.5, 0.5, 1.0, 1.0))], 1)  # IoU exactly 0.5
    assert evaluate_detections(dataset, detections, "darknet").classes[0].tp == 0
    assert evaluate_detections(dataset, detections, "darknet", match_iou=0.49).classes[0].tp == 1
    assert evaluate_detections(dataset, detections, "voc07").classes[0].tp == 1


def test_darknets_tp_is_the_first_in_c_order_but_its_curve_ranks_by_confidence() -> None:
    dataset = make_dataset([[[*_A, 0]]])
    detections = make_detections([(0, 0, 0.2, _A), (0, 0, 0.9, _NEAR_A)], 1)
    result = evaluate_detections(dataset, detections)
    assert (result.all.tp, result.all.fp) == (0, 1)
    assert result.classes[0].average_precision == 1
    other = evaluate_detections(dataset, detections, "voc07")
    assert (other.all.tp, other.all.fp) == (1, 0)


def test_difficult_targets_are_left_out_as_in_darknet_and_voc() -> None:
    """A match of one is left out of Darknet's curve but is an FP in its counts; VOC leaves it out of both."""
    dataset = make_dataset([[[*_A, 0]]], [[[*_B, 0]]])
    detections = make_detections([(0, 0, 0.9, _B), (0, 0, 0.8, _A), (0, 1, 0.7, _B)], 1)
    darknet, voc = evaluate_detections(dataset, detections), evaluate_detections(dataset, detections, "voc07")
    assert darknet.classes[0].average_precision == voc.classes[0].average_precision == 1
    assert (darknet.classes[0].tp, darknet.classes[0].fp) == (1, 1)
    assert (voc.classes[0].tp, voc.classes[0].fp) == (1, 0)
    assert darknet.classes[1].fp == voc.classes[1].fp == 1  # an ignored target only excuses its own class
    assert " detections_count = 2, unique_truth_count = 1  " in darknet.to_darknet_text()


@pytest.mark.parametrize("protocol", ["darknet", "voc07"])
def test_map_without_detections_or_targets_is_0(protocol: str) -> None:
    empty, labelled = make_dataset([[]]), make_dataset([[[*_A, 0]]])
    assert evaluate_detections(labelled, make_detections([], 1), protocol).map == 0
    assert evaluate_detections(empty, make_detections([(0, 0, 0.9, _A)], 1), protocol).map == 0
    assert evaluate_detections(empty, make_detections([], 1), protocol).map == 0


def test_the_confusion_matrix_pairs_by_iou_whatever_the_class() -> None:
    targets = ap.GroundTruth.from_dataset(make_dataset([[[*_A, 0], [*_B, 1]], [[*_A, 2]]]))
    detections = make_detections(
        [(0, 1, 0.9, _NEAR_A), (0, 0, 0.8, _A), (0, 1, 0.3, _B), (1, 2, 0.2, _A), (1, 0, 0.9, _FAR)], 2
    )
    assert compute_confusion_matrix(detections, targets, 3).tolist() == [
        [1, 0, 0, 1],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
    ]


def test_a_recall_of_three_fifths_does_not_reach_the_seventh_of_eleven_points() -> None:
    assert ap.compute_curve(np.ones(3, np.float32), np.ones(3, np.bool_), 5).average_precision(11) == pytest.approx(
        6 / 11
    )


def _average_precision_in_c(
    detections: Detections, matches: ap.TargetMatches, num_targets: int, cls: int, points: int
) -> float:
    """AP of a class computed as in C: rank by rank over the detections of all classes."""
    order = sorted(np.flatnonzero(matches.counted), key=lambda row: -detections.confidence[row])
    seen: set[int] = set()
    hits = misses = 0
    ranks = []
    for row in order:
        target = int(matches.target[row])
        if detections.classes[row] == cls:
            hits, misses = hits + (target >= 0 and target not in seen), misses + (target < 0 or target in seen)
        seen.add(target)
        ranks.append((hits / (hits + misses) if hits + misses else 0.0, hits / num_targets if num_targets else 0.0))
    if not ranks:
        return 0.0
    if points:
        at = [i * (1 / (points - 1)) for i in range(points)]
        return sum(max((p for p, r in ranks if r >= minimum), default=0.0) for minimum in at) / points
    best, recall = ranks[-1]
    area = 0.0
    for p, r in reversed(ranks[:-1]):
        best, area, recall = max(best, p), area + (recall - r) * max(best, p), r
    return area + recall * best


_BOX = st.tuples(*[st.integers(2, 8).map(lambda n: n / 10)] * 2, *[st.integers(1, 4).map(lambda n: n / 10)] * 2)
_ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), _BOX), max_size=14)


@given(_ROWS, _ROWS, st.sampled_from([0, 2, 11, 101]), st.randoms(use_true_random=False))
def test_average_precision_equals_cs(
    targets: list[tuple[int, int, tuple[float, ...]]],
    boxes: list[tuple[int, int, tuple[float, ...]]],
    points: int,
    random: Random,
) -> None:
    dataset = make_dataset([[[*box, k] for image, k, box in targets if image == n] for n in range(3)])
    ranks = list(range(len(boxes)))
    random.shuffle(ranks)
    rows = [(image, k, (rank + 1) / 20, box) for rank, (image, k, box) in zip(ranks, boxes, strict=True)]
    detections = make_detections(rows, 3)  # type: ignore[arg-type]
    ground_truth = ap.GroundTruth.from_dataset(dataset)
    matches = ap.match_darknet(detections, ground_truth)
    counts = ground_truth.count_per_class(3)
    for number, curve in enumerate(ap.compute_class_curves(detections, matches, counts)):
        area = curve.average_precision(points)
        assert 0 <= area <= 1
        assert area == pytest.approx(
            _average_precision_in_c(detections, matches, int(counts[number]), number, points), abs=1e-12
        )


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 10))
def test_average_precision_over_many_recalls_approaches_the_area(right: list[bool], missing: int) -> None:
    confidence = np.linspace(1, 0.1, len(right)).astype(np.float32)
    curve = ap.compute_curve(confidence, np.array(right), sum(right) + missing)
    assert curve.average_precision(20001) == pytest.approx(curve.average_precision(), abs=2e-3)
    at, best = curve.best()
    assert best == pytest.approx(max(curve.f1, default=0))
    assert at in confidence
