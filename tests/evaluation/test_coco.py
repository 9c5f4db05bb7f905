"""The coco protocol: pycocotools' own numbers, whichever package computes them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pathlib
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from darknet_py.data.coco import category_ids
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.formats import load_dataset
from darknet_py.evaluation import coco
from darknet_py.evaluation.detections import Detections
from darknet_py.evaluation.evaluator import evaluate_detections
from tests.helpers.random_detections import Row, make_dataset, make_detections, random_dataset

_A = (0.3, 0.3, 0.2, 0.2)


@pytest.fixture(autouse=True)
def _needs_pycocotools() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")


@pytest.fixture
def faster() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")


@pytest.mark.parametrize("seed", range(5))
def test_101_points_equal_pycocotools_where_matching_is_unambiguous(seed: int) -> None:
    dataset, detections = random_dataset(seed)
    ours = evaluate_detections(dataset, detections, "darknet", points=101)
    theirs = evaluate_detections(dataset, detections, "coco")
    assert 0.1 < theirs.map50 < 0.9
    assert ours.map == pytest.approx(theirs.map50, abs=1e-6)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_coco_scores_equal_those_of_pycocotools(seed: int) -> None:
    """The written annotations and results give the same numbers in pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset, detections = random_dataset(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        target = COCO()
        target.dataset = json.loads(json.dumps(coco.to_annotations(dataset, detections)))
        target.createIndex()
        evaluator = COCOeval(
            target, target.loadRes(json.loads(json.dumps(coco.to_results(dataset, detections)))), "bbox"
        )
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    result = evaluate_detections(dataset, detections, "coco")
    assert list(result.coco.values()) == evaluator.stats.tolist()
    assert (result.map, result.map50) == (evaluator.stats[0], evaluator.stats[1])
    aps = [one.average_precision for one in result.classes if one.average_precision > -1]
    assert np.mean(aps) == pytest.approx(evaluator.stats[0])


def test_coco_map_without_detections_is_0() -> None:
    assert evaluate_detections(make_dataset([[[*_A, 0]]]), make_detections([], 1), "coco").map == 0


def test_image_and_category_ids_are_those_of_coco() -> None:
    names = ["COCO_val2014_000000000042.jpg", "000000000009.png", "7.jpg"]
    empty = np.zeros((0, 5), np.float32)
    made = Dataset([Sample(name, empty, empty) for name in names], tuple(map(str, range(80))))
    assert coco.image_ids(made) == [42, 9, 7]
    assert coco.image_ids(Dataset([*made.samples, Sample("dog.jpg", empty, empty)])) == [1, 2, 3, 4]
    assert coco.image_ids(Dataset([*made.samples, Sample("b/7.jpg", empty, empty)])) == [1, 2, 3, 4]
    assert category_ids(made)[:13] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14)
    assert category_ids(made)[-1] == 90
    assert category_ids(Dataset([], ("a", "b"))) == (1, 2)


def _crowded(seed: int) -> tuple[Dataset, Detections]:
    """Boxes of all sizes, some images with more than a hundred, with crowds and a class without targets."""
    rng = np.random.default_rng(seed)

    def random_boxes(count: int) -> list[list[float]]:
        centres, size = rng.random((count, 2)), rng.random((count, 2)) ** 3
        boxes: list[list[float]] = np.hstack((centres, size + 0.005, rng.integers(2, size=(count, 1)))).tolist()
        return boxes

    targets, crowds = ([random_boxes(int(rng.integers(15))) for _ in range(3)] for _ in range(2))
    rows: list[Row] = []
    for image, boxes in enumerate(targets):
        near = [[*np.array(box[:4]) * rng.normal(1, 0.05, 4), box[4]] for box in boxes]
        for x, y, w, h, k in near + random_boxes(int(rng.integers(150))):
            rows.append((image, int(k), round(float(rng.random()), 2), (x, y, w, h)))
    return make_dataset(targets, crowds), make_detections(rows, 3)


@pytest.mark.usefixtures("faster")
@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_both_packages_compute_the_same_scores(seed: int) -> None:
    dataset, detections = _crowded(seed)
    one, other = (evaluate_detections(dataset, detections, "coco", backend=package) for package in coco.BACKENDS)
    assert (one.backend, other.backend) == ("pycocotools", "faster_coco_eval")
    assert other.coco == pytest.approx(one.coco, abs=1e-12)
    aps = [[row.average_precision for row in result.classes] for result in (one, other)]
    assert aps[1] == pytest.approx(aps[0], abs=1e-12)


@pytest.mark.usefixtures("faster")
def test_both_packages_compute_the_same_scores_from_cocos_annotation_file(tmp_path: pathlib.Path) -> None:
    dataset, detections = _crowded(7)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco.to_annotations(dataset, detections)))
    read = dataclasses.replace(load_dataset(path), names=dataset.names)
    one, other = (evaluate_detections(read, detections, "coco", backend=package) for package in coco.BACKENDS)
    assert 0 < one.map < one.map50
    assert other.coco == pytest.approx(one.coco, abs=1e-12)


@pytest.mark.usefixtures("faster")
def test_the_installed_package_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, detections = random_dataset(0)
    assert evaluate_detections(dataset, detections, "coco").rule.startswith("coco: pycocotools, ")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert evaluate_detections(dataset, detections, "coco").rule.startswith("coco: faster_coco_eval, ")
    with pytest.raises(ImportError, match="pycocotools: not installed: pip install pycocotools"):
        coco.find_backend("pycocotools")
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match=r"needs pycocotools: pip install 'darknet-torch\[eval\]'"):
        coco.find_backend()
