from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from darknet_py.evaluation import plots, result_files
from darknet_py.evaluation.evaluator import evaluate, evaluate_detections
from darknet_py.evaluation.scores import Evaluation
from tests.helpers import noise_dataset


@pytest.fixture
def evaluation(tmp_path: pathlib.Path) -> Evaluation:
    return evaluate(
        noise_dataset.detector(tmp_path),
        noise_dataset.images(tmp_path) / "my.data",
        progress=False,
        match_iou=0.3,
    )


def test_plots_are_written_as_images(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    paths = plots.write(evaluation, tmp_path / "plots")
    assert sorted(path.name for path in paths) == sorted(os.listdir(tmp_path / "plots"))
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert len(image.convert("RGB").resize((64, 64)).getcolors(4096) or ()) > 10


def test_plots_without_targets_and_detections_are_drawn(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    detections = evaluation.data.detections
    empty = dataclasses.replace(
        detections, **{name: getattr(detections, name)[:0] for name in ("image", "boxes", "confidence", "classes")}
    )
    without_targets = [dataclasses.replace(sample, targets=sample.ignored) for sample in evaluation.data.dataset]
    dataset = dataclasses.replace(evaluation.data.dataset, samples=without_targets)
    assert len(plots.write(evaluate_detections(dataset, empty), tmp_path)) == 5


@pytest.mark.parametrize("kind", list(result_files.Format))
def test_result_files_have_a_row_for_each_detection(evaluation: Evaluation, tmp_path: pathlib.Path, kind: str) -> None:
    dataset, detections = evaluation.data.dataset, evaluation.data.detections
    paths = result_files.write(dataset, detections, kind, tmp_path / "results")
    if kind in ("coco", "bdd"):
        records = json.loads(paths[0].read_text())
        assert len(records) == len(detections)
        assert set(records[0]) == (
            {"image_id", "category_id", "bbox", "score"} if kind == "coco" else {"name", "category", "bbox", "score"}
        )
        return
    rows = [line.split() for path in paths for line in path.read_text().splitlines()]
    assert len(rows) == len(detections)
    columns = {"voc": slice(2, 6), "imagenet": slice(3, 7), "kitti": slice(4, 8)}[str(kind)]
    corners = np.array([row[columns] for row in rows], float)
    assert corners.min() >= (1 if kind == "voc" else 0)
    assert corners[:, 2:].max() <= detections.sizes.max()
    assert (corners[:, 2:] >= corners[:, :2]).all()
    if kind == "voc":
        assert [path.name for path in paths] == ["comp4_det_test_cat.txt", "comp4_det_test_traffic_light.txt"]


def test_the_json_without_detections_is_valid(evaluation: Evaluation, tmp_path: pathlib.Path) -> None:
    detections = evaluation.data.detections
    empty = dataclasses.replace(
        detections, **{name: getattr(detections, name)[:0] for name in ("image", "boxes", "confidence", "classes")}
    )
    (path,) = result_files.write(evaluation.data.dataset, empty, "coco", tmp_path)
    assert json.loads(path.read_text()) == []
