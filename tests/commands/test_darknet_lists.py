"""``yolo`` and ``coco`` ``train``, ``valid`` and ``recall``: lists whose names are fixed in Darknet's source."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from tests.commands.test_darknet_lines import run
from tests.helpers import random_networks

CFG = """
[net]
width=32
height=32
channels=3
batch=2
max_batches=2
learning_rate=0.001
policy=constant
[convolutional]
filters=4
size=3
stride=2
pad=1
activation=leaky
[connected]
output={}
activation=linear
[detection]
classes={}
coords=4
side=2
num=2
softmax=0
sqrt=1
rescore=1
"""
LISTS = (
    *("voc/train.txt", "voc/2007_test.txt", "voc.2007.test"),
    *("coco.trainval.txt", "coco_val_5k.list", "voc/test/2007_test.txt"),
)
C_LIST = b"/home/pjreddie/data/voc/2007_test.txt"


@pytest.fixture
def files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cfg and weights of a YOLOv1 network, and all lists with two images."""
    monkeypatch.chdir(tmp_path)
    for classes in (20, 80):
        torch.manual_seed(1)
        path = f"{classes}.cfg"
        pathlib.Path(path).write_text(CFG.format(2 * 2 * (classes + 2 * 5), classes))
        network = dk.load(path)
        random_networks.randomise(network)
        network.version = (0, 2, 0)
        dk.save_weights(network, f"{classes}.weights")
    rng = np.random.default_rng(0)
    images = [f"COCO_val_{number:06}.png" for number in range(8)]  # as many as C reads at once
    for image in images:
        Image.fromarray(rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)).save(image)
        pathlib.Path(image).with_suffix(".txt").write_text("1 0.5 0.5 0.25 0.5\n")
    for path in LISTS:
        file = pathlib.Path("data", path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(images))
    pathlib.Path("results").mkdir()
    return ["20.cfg", "20.weights"]


@pytest.mark.parametrize("command", ["yolo", "coco"])
def test_training_prints_darknets_line(files: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run([command, "train", *files, "-i", "-1"], capsys)
    assert status == 0, err
    number = r"\d+\.\d{6}"
    assert re.findall(rf"^(\d): {number}, {number} avg, {number} rate, {number} seconds, (\d) images$", out, re.M) == [
        ("1", "2"),
        ("2", "4"),
    ]
    assert pathlib.Path("backup/20_final.weights").is_file()


@pytest.mark.parametrize("command", ["yolo", "coco"])
def test_recall_is_printed_to_stderr(files: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run([command, "recall", *files, "-i", "-1"], capsys)
    assert (status, out) == (0, "")
    assert re.search(r"^    7 +\d +8\tRPs/Img: \d+\.\d\d\tIOU: \d+\.\d\d%\tRecall:\d+\.\d\d%$", err, re.MULTILINE)


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
def test_result_files_are_those_of_c(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Debian's program reads an absolute path, which is replaced in a copy of it."""
    program = pathlib.Path(shutil.which("darknet") or "").read_bytes()
    assert C_LIST in program
    pathlib.Path("darknet").write_bytes(program.replace(C_LIST, b"data/voc/2007_test.txt".ljust(len(C_LIST), b"\0")))
    pathlib.Path("darknet").chmod(0o755)
    subprocess.run(["./darknet", "yolo", "valid", *files], capture_output=True, check=True)
    theirs = {path.name: path.read_text() for path in pathlib.Path("results").iterdir()}
    pathlib.Path("results").rename("theirs")
    status, out, _ = run(["yolo", "valid", *files, "-i", "-1"], capsys)
    assert status == 0
    assert {pathlib.Path(line).name for line in out.splitlines()} == set(theirs)
    assert sum(map(len, theirs.values())) > 0
    for name, text in theirs.items():
        ours = sorted(line.split() for line in pathlib.Path("results", name).read_text().splitlines())
        expected = sorted(line.split() for line in text.splitlines())
        assert [line[0] for line in ours] == [line[0] for line in expected]
        values = [[float(value) for value in line[1:]] for line in ours]
        corners = np.array([[float(value) for value in line[1:]] for line in expected])
        # C clips the right edge of a box that is left of the image to the width only.
        np.testing.assert_allclose(np.array(values), np.maximum(corners, 0), atol=2e-4)


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
def test_records_are_those_of_c(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    del files
    line = ["coco", "valid", "80.cfg", "80.weights"]
    subprocess.run(["darknet", *line], capture_output=True, check=True)
    text = pathlib.Path("results/coco_results.json").read_text()
    theirs = json.loads(re.sub(r",\s*\]\s*$", "]", text))
    status, out, _ = run([*line, "-i", "-1"], capsys)
    assert (status, out) == (0, "results/coco_results.json\n")
    ours = json.loads(pathlib.Path("results/coco_results.json").read_text())

    def rows(records: list[dict[str, float]]) -> list[tuple[float, ...]]:
        return sorted((r["image_id"], r["category_id"], r["score"], *r["bbox"]) for r in records)  # type: ignore[misc]

    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(rows(ours), np.maximum(rows(theirs), 0), atol=2e-3)


def test_another_list_may_be_named(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("data/voc.2007.test").rename("my.txt")
    status, _, err = run(["yolo", "recall", *files], capsys)
    assert status == 1
    assert "yolo recall: data/voc.2007.test: no such list, whose name is fixed in Darknet" in err
    assert run(["yolo", "recall", *files, "my.txt", "-i", "-1"], capsys)[0] == 0
