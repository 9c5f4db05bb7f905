"""Fine-tuning of the official yolov4-tiny on real images: short versions of the runs in docs/training.md."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest

from darknet_py import cli, loading
from darknet_py.evaluation.evaluator import evaluate

CFG = pathlib.Path(__file__).parents[2] / "cfgs" / "yolov4-tiny.cfg"
BACKBONE = 19789716  # bytes of the official yolov4-tiny.conv.29


def losses(folder: pathlib.Path) -> list[float]:
    with open(folder / "yolov4-tiny_log.csv", newline="", encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def train(data: pathlib.Path, weights: pathlib.Path, out: pathlib.Path, size: int, *more: str) -> Sequence[float]:
    words = ["train", data, CFG, weights, "--output", out, "--chart", "", "--workers", "1", "--set", "batch=8"]
    sizes = ["--imgsz", size, size, "--device", "cpu", "--no-map", "--quiet"]
    assert cli.main([str(word) for word in (*words, *sizes, *more)]) == 0
    return losses(out)


@pytest.mark.slow
def test_a_backbone_learns_to_detect(
    yolov4_tiny_weights: pathlib.Path, shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    backbone = tmp_path / "yolov4-tiny.conv.29"
    assert cli.main(["partial", str(CFG), str(yolov4_tiny_weights), str(backbone), "29"]) == 0
    assert backbone.stat().st_size == BACKBONE
    more = ("--set", "max_batches=40", "--set", "burn_in=10", "--set", "steps=30,35")
    seen = train(shared / "data" / "coco128", backbone, tmp_path / "out", 128, *more)
    assert np.mean(seen[-5:]) < 0.25 * np.mean(seen[:5])


@pytest.mark.slow
def test_a_tiny_learning_rate_keeps_the_official_map(
    yolov4_tiny_weights: pathlib.Path, shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    data = shared / "data" / "coco128"
    more = ("--clear", "--set", "max_batches=20", "--set", "burn_in=0", "--set", "learning_rate=0.000001")
    train(data, yolov4_tiny_weights, tmp_path / "out", 256, *more)
    before, after = (
        evaluate(
            loading.load(CFG, weights, size=(256, 256)), data, names=shared / "data" / "coco.names", progress=False
        )
        for weights in (yolov4_tiny_weights, tmp_path / "out" / "yolov4-tiny_final.weights")
    )
    assert before.map > 0.3
    assert after.map > before.map - 0.01
