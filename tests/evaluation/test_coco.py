"""The coco protocol: pycocotools' own numbers, by whichever package counts them."""

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

from darknet_py.data import datasets
from darknet_py.data.data_file import Dataset, Sample
from darknet_py.evaluation import coco
from darknet_py.evaluation.detections import Detections
from darknet_py.evaluation.evaluator import score
from tests.helpers.random_detections import Row, data_of, detections, spread

_A = (0.3, 0.3, 0.2, 0.2)


@pytest.fixture(autouse=True)
def _there() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")


@pytest.fixture
def faster() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")


@pytest.mark.parametrize("seed", range(5))
def test_101_points_are_pycocotools_where_matching_is_not_in_question(seed: int) -> None:
    dataset, found = spread(seed)
    ours = score(dataset, found, "darknet", points=101)
    theirs = score(dataset, found, "coco")
    assert 0.1 < theirs.map50 < 0.9
    assert ours.map == pytest.approx(theirs.map50, abs=1e-6)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_coco_numbers_are_pycocotools_own(seed: int) -> None:
    """The files that are written, given to pycocotools, count to the very same numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset, found = spread(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        target = COCO()
        target.dataset = json.loads(json.dumps(coco.ground_truth(dataset, found)))
        target.createIndex()
        counter = COCOeval(target, target.loadRes(json.loads(json.dumps(coco.results(dataset, found)))), "bbox")
        counter.evaluate()
        counter.accumulate()
        counter.summarize()
    result = score(dataset, found, "coco")
    assert list(result.coco.values()) == counter.stats.tolist()
    assert (result.map, result.map50) == (counter.stats[0], counter.stats[1])
    areas = [one.average_precision for one in result.classes if one.average_precision > -1]
    assert np.mean(areas) == pytest.approx(counter.stats[0])


def test_coco_counts_nothing_found_as_nothing() -> None:
    assert score(data_of([[[*_A, 0]]]), detections([], 1), "coco").map == 0


def test_numbers_of_images_and_classes_in_cocos_files() -> None:
    names = ["COCO_val2014_000000000042.jpg", "000000000009.png", "7.jpg"]
    empty = np.zeros((0, 5), np.float32)
    made = Dataset([Sample(name, empty, empty) for name in names], tuple(map(str, range(80))))
    assert coco.identities(made) == [42, 9, 7]
    assert coco.identities(Dataset([*made.samples, Sample("dog.jpg", empty, empty)])) == [1, 2, 3, 4]
    assert coco.identities(Dataset([*made.samples, Sample("b/7.jpg", empty, empty)])) == [1, 2, 3, 4]
    assert coco.categories(made)[:13] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14)
    assert coco.categories(made)[-1] == 90
    assert coco.categories(Dataset([], ("a", "b"))) == (1, 2)


def _crowded(seed: int) -> tuple[Dataset, Detections]:
    """Boxes anywhere, of all sizes, more than a hundred an image, with crowds and a class that has no object."""
    random = np.random.default_rng(seed)

    def some(count: int) -> list[list[float]]:
        place, size = random.random((count, 2)), random.random((count, 2)) ** 3
        boxes: list[list[float]] = np.hstack((place, size + 0.005, random.integers(2, size=(count, 1)))).tolist()
        return boxes

    targets, crowds = ([some(int(random.integers(15))) for _ in range(3)] for _ in range(2))
    rows: list[Row] = []
    for image, objects in enumerate(targets):
        near = [[*np.array(box[:4]) * random.normal(1, 0.05, 4), box[4]] for box in objects]
        for x, y, w, h, k in near + some(int(random.integers(150))):
            rows.append((image, int(k), round(float(random.random()), 2), (x, y, w, h)))
    return data_of(targets, crowds), detections(rows, 3)


@pytest.mark.usefixtures("faster")
@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_both_packages_count_alike(seed: int) -> None:
    dataset, found = _crowded(seed)
    one, other = (score(dataset, found, "coco", backend=package) for package in coco.BACKENDS)
    assert (one.backend, other.backend) == ("pycocotools", "faster_coco_eval")
    assert other.coco == pytest.approx(one.coco, abs=1e-12)
    areas = [[row.average_precision for row in result.classes] for result in (one, other)]
    assert areas[1] == pytest.approx(areas[0], abs=1e-12)


@pytest.mark.usefixtures("faster")
def test_both_packages_count_cocos_own_file_alike(tmp_path: pathlib.Path) -> None:
    dataset, found = _crowded(7)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco.ground_truth(dataset, found)))
    read = dataclasses.replace(datasets.load(path), names=dataset.names)
    one, other = (score(read, found, "coco", backend=package) for package in coco.BACKENDS)
    assert 0 < one.map < one.map50
    assert other.coco == pytest.approx(one.coco, abs=1e-12)


@pytest.mark.usefixtures("faster")
def test_the_package_that_is_there_counts_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, found = spread(0)
    assert score(dataset, found, "coco").rule.startswith("coco: pycocotools, ")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert score(dataset, found, "coco").rule.startswith("coco: faster_coco_eval, ")
    with pytest.raises(ImportError, match="pycocotools: not installed: pip install pycocotools"):
        coco.backend("pycocotools")
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match=r"needs pycocotools: pip install 'darknet-torch\[eval\]'"):
        coco.backend()
