from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from darknet_py.evaluation import plots, result_files
from darknet_py.evaluation.evaluator import evaluate, score
from darknet_py.evaluation.scores import Evaluation
from tests.helpers import noise_dataset


@pytest.fixture
def evaluation(tmp_path: pathlib.Path) -> Evaluation:
    return evaluate(
        noise_dataset.detector(tmp_path),
        noise_dataset.images(tmp_path) / "my.data",
        progress=False,
        iou_threshold=0.3,
    )


def test_plots_are_images(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    paths = plots.write(evaluation, tmp_path / "plots")
    assert sorted(path.name for path in paths) == sorted(os.listdir(tmp_path / "plots"))
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert len(image.convert("RGB").resize((64, 64)).getcolors(4096) or ()) > 10


def test_plots_of_nothing_are_drawn_as_well(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = evaluation.material.found
    empty = dataclasses.replace(
        found, **{name: getattr(found, name)[:0] for name in ("image", "boxes", "confidence", "classes")}
    )
    nothing = [dataclasses.replace(sample, targets=sample.ignored) for sample in evaluation.material.dataset]
    dataset = dataclasses.replace(evaluation.material.dataset, samples=nothing)
    assert len(plots.write(score(dataset, empty), tmp_path)) == 5


@pytest.mark.parametrize("kind", list(result_files.Format))
def test_result_files(evaluation: Evaluation, tmp_path: pathlib.Path, kind: str) -> None:
    dataset, found = evaluation.material.dataset, evaluation.material.found
    paths = result_files.write(dataset, found, kind, tmp_path / "results")
    if kind in ("coco", "bdd"):
        records = json.loads(paths[0].read_text())
        assert len(records) == len(found)
        assert set(records[0]) == (
            {"image_id", "category_id", "bbox", "score"} if kind == "coco" else {"name", "category", "bbox", "score"}
        )
        return
    rows = [line.split() for path in paths for line in path.read_text().splitlines()]
    assert len(rows) == len(found)
    first = {"voc": slice(2, 6), "imagenet": slice(3, 7), "kitti": slice(4, 8)}[str(kind)]
    edges = np.array([row[first] for row in rows], float)
    assert edges.min() >= (1 if kind == "voc" else 0)
    assert edges[:, 2:].max() <= found.sizes.max()
    assert (edges[:, 2:] >= edges[:, :2]).all()
    if kind == "voc":
        assert [path.name for path in paths] == ["comp4_det_test_cat.txt", "comp4_det_test_traffic_light.txt"]


def test_the_json_of_nothing_is_json(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    found = evaluation.material.found
    empty = dataclasses.replace(
        found, **{name: getattr(found, name)[:0] for name in ("image", "boxes", "confidence", "classes")}
    )
    (path,) = result_files.write(evaluation.material.dataset, empty, "coco", tmp_path)
    assert json.loads(path.read_text()) == []
