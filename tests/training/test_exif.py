"""``exif``: images of training and evaluation are rotated by their EXIF orientation."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from PIL import Image

from darknet_py import cli
from darknet_py.data.formats import load_dataset
from darknet_py.distributed import ProcessGroup
from darknet_py.evaluation.detections import collect
from darknet_py.training.batches import create_batches
from darknet_py.training.options import TrainOptions
from tests.helpers import random_networks

CFG = """[net]
width=32
height=32
channels=3
batch=1
max_batches=1
[convolutional]
filters=7
[yolo]
classes=2
num=1
anchors=8,8
max=5
"""


@pytest.fixture
def rotated(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A list of one image of 8 x 16 pixels, white on the left, that is to be shown turned by 90 degrees."""
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save("a.png", exif=exif)
    pathlib.Path("a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    pathlib.Path("list.txt").write_text("a.png\n")
    return tmp_path / "list.txt"


@pytest.mark.parametrize("exif", [False, True])
def test_images_are_rotated_in_training_and_evaluation(rotated: pathlib.Path, exif: bool) -> None:
    network = random_networks.network(CFG)
    options = TrainOptions(exif=exif, workers=0)
    loader, *_ = create_batches(network, str(rotated), options, ProcessGroup(), seed=1)
    ((x, _),) = next(iter(loader)).pairs
    rows, columns = x[0, 0].mean(dim=1), x[0, 0].mean(dim=0)
    across, along = (abs(float(side[2] - side[-3])) for side in (rows, columns))
    assert (across > along) == exif  # turned by 90 degrees, the white half is above instead of on the left
    detections = collect(network, load_dataset(rotated, "train"), exif=exif, progress=False)
    assert np.asarray(detections.sizes).tolist() == [[16, 8] if exif else [8, 16]]


def test_check_names_rotated_images(rotated: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(rotated)]) == 0
    assert "a.png: EXIF orientation 6: " in capsys.readouterr().out
