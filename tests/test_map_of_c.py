from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest

from darknet_py import loading
from darknet_py.evaluation.evaluate import evaluate, score

# What C Darknet (AlexeyAB 59596d7, CPU) printed by `detector map` for data/coco128 beside this checkout, its
# pictures re-encoded as PNG so that both read the same pixels: mAP, detections, TP, FP, mean overlap.
_LOSSLESS = {"yolov4-tiny": (0.452699, 8192, 382, 193, 51.55), "yolov3-tiny": (0.244552, 10377, 165, 266, 28.87)}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_LOSSLESS))
def test_mean_average_precision_is_cs(name: str, shared: pathlib.Path, request: pytest.FixtureRequest) -> None:
    weights = request.getfixturevalue(f"{name.replace('-', '_')}_weights")
    network = loading.load(pathlib.Path(__file__).parents[1] / "cfgs" / f"{name}.cfg", weights)
    names = shared / "data" / "coco.names"
    result = evaluate(network, shared / "data" / "coco128", names=names, progress=False)
    expected, detections, right, wrong, overlap = _LOSSLESS[name]
    assert result.map == pytest.approx(expected, abs=5e-4)
    assert len(result.material.found) == pytest.approx(detections, rel=1e-3)
    assert result.all.objects == 929
    assert result.all.tp == pytest.approx(right, abs=1)
    assert result.all.fp == pytest.approx(wrong, abs=1)
    assert 100 * result.average_iou == pytest.approx(overlap, abs=0.1)
    for points in (0, 11, 101):  # C's tables from the JPEG files, which its own decoder reads a little differently
        table = (shared / "conformance" / "map" / f"map_{name}.{points}.txt").read_text()
        again = score(result.material.dataset, result.material.found, points=points)
        found = re.search(r"\) = (\d\.\d+), or", table)
        assert found
        assert again.map == pytest.approx(float(found[1]), abs=3e-3)
        areas = np.array(re.findall(r"ap = +(\S+)%", table), float)
        assert np.abs(areas - [100 * one.average_precision for one in again.classes]).mean() < 0.3
