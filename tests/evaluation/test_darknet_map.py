from __future__ import annotations

import pathlib
import re
import shutil

import numpy as np
import pytest

from darknet_py import cli, loading
from darknet_py.evaluation.evaluator import evaluate, evaluate_detections

# What C Darknet (AlexeyAB 59596d7, CPU) printed by `detector map` for data/coco128 of the reference folder, its
# images re-encoded as PNG so that both read the same pixels: mAP, detections, TP, FP, mean IoU.
_LOSSLESS = {"yolov4-tiny": (0.452699, 8192, 382, 193, 51.55), "yolov3-tiny": (0.244552, 10377, 165, 266, 28.87)}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_LOSSLESS))
def test_mean_average_precision_equals_cs(name: str, shared: pathlib.Path, request: pytest.FixtureRequest) -> None:
    weights = request.getfixturevalue(f"{name.replace('-', '_')}_weights")
    network = loading.load(pathlib.Path(__file__).parents[2] / "cfgs" / f"{name}.cfg", weights)
    names = shared / "data" / "coco.names"
    result = evaluate(network, shared / "data" / "coco128", names=names, progress=False)
    expected, detections, tp, fp, mean_iou = _LOSSLESS[name]
    assert result.map == pytest.approx(expected, abs=5e-4)
    assert len(result.data.detections) == pytest.approx(detections, rel=1e-3)
    assert result.all.targets == 929
    assert result.all.tp == pytest.approx(tp, abs=1)
    assert result.all.fp == pytest.approx(fp, abs=1)
    assert 100 * result.average_iou == pytest.approx(mean_iou, abs=0.1)
    for points in (0, 11, 101):  # C's tables from the JPEG files, which its own decoder reads a little differently
        table = (shared / "conformance" / "map" / f"map_{name}.{points}.txt").read_text()
        again = evaluate_detections(result.data.dataset, result.data.detections, points=points)
        printed = re.search(r"\) = (\d\.\d+), or", table)
        assert printed
        assert again.map == pytest.approx(float(printed[1]), abs=3e-3)
        aps = np.array(re.findall(r"ap = +(\S+)%", table), float)
        assert np.abs(aps - [100 * one.average_precision for one in again.classes]).mean() < 0.3


# The same of images 20 to 43, every third target of each in the list of difficult ones:
# -iou_thresh, -points, -thresh, whether the .data file has that list; mAP, detections, TP, FP, mean IoU.
_FLAGS = [
    (0.75, 0, 0.25, False, (0.116523, 2133, 45, 109, 24.69)),
    (0.5, 101, 0.4, False, (0.220686, 2133, 50, 52, 39.77)),
    (0.5, 11, 0.25, True, (0.245527, 2064, 64, 90, 32.63)),
    (0.3, 0, 0.1, True, (0.304256, 1990, 78, 189, 20.39)),
]


@pytest.fixture
def line(
    shared: pathlib.Path,
    yolov4_tiny_weights: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Arguments of a `detector` command: easy.data and the network; hard.data is beside easy.data."""
    monkeypatch.chdir(tmp_path)
    stems = []
    for part in ("easy", "hard"):
        pathlib.Path(part).mkdir()
    for image in sorted((shared / "data" / "coco128").glob("*.jpg"))[20:44]:
        shutil.copy(image, "easy")
        labels = image.with_suffix(".txt")
        rows = labels.read_text().splitlines() if labels.exists() else []
        for part in ("easy", "hard"):
            selected = [row for number, row in enumerate(rows) if (number % 3 == 2) == (part == "hard")]
            pathlib.Path(part, f"{image.stem}.txt").write_text("".join(f"{row}\n" for row in selected))
        stems.append(image.stem)
    for part in ("easy", "hard"):
        pathlib.Path(f"{part}.list").write_text("".join(f"{part}/{stem}.jpg\n" for stem in stems))
    data = f"valid = easy.list\nnames = {shared / 'data' / 'coco.names'}\n"
    pathlib.Path("easy.data").write_text(data)
    pathlib.Path("hard.data").write_text(f"{data}difficult = hard.list\n")
    cfg = str(pathlib.Path(__file__).parents[2] / "cfgs" / "yolov4-tiny.cfg")
    return ["easy.data", cfg, str(yolov4_tiny_weights), "-i", "-1"]


@pytest.mark.slow
@pytest.mark.parametrize(("match_iou", "points", "confidence", "hard", "expected"), _FLAGS)
def test_map_with_flags_and_difficult_objects_equals_cs(
    match_iou: float,
    points: int,
    confidence: float,
    hard: bool,
    expected: tuple[float, int, int, int, float],
    line: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["-iou_thresh", str(match_iou), "-points", str(points), "-thresh", str(confidence)]
    assert cli.main(["detector", "map", "hard.data" if hard else "easy.data", *line[1:], *flags]) == 0
    out = capsys.readouterr().out
    mean_ap, detections, tp, fp, mean_iou = expected
    assert float(re.findall(r"\) = (\d\.\d+), or", out)[0]) == pytest.approx(mean_ap, abs=1e-5)
    assert f"detections_count = {detections}, unique_truth_count = 197" in out
    assert f"TP = {tp}, FP = {fp}, FN = {197 - tp}, average IoU = {mean_iou:.2f} % " in out


@pytest.mark.slow
def test_recall_equals_cs(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detector", "recall", *line]) == 0
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "   23   119   197\tRPs/Img: 104.58\tIOU: 54.38%\tRecall:60.41%"
