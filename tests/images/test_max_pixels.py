"""The limit of pixels: every command that reads images has it, and every page of a file counts."""

from __future__ import annotations

import pathlib

import pytest
from PIL import Image

import darknet_py
from darknet_py import cli
from darknet_py.errors import DataError
from darknet_py.images.reading import read_image
from tests.helpers import noise_dataset
from tests.helpers.data_files import write_image, write_text

_CLASSIFIER = """
[net]
width=8
height=8
channels=3
batch=1
max_batches=1
[avgpool]
[connected]
output=2
[softmax]
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A detector and a classifier with their weights, and data sets of an image with 40 x 20 pixels."""
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "c.cfg", _CLASSIFIER)
    darknet_py.save(darknet_py.load("c.cfg"), "c.weights")
    darknet_py.save(noise_dataset.detector(tmp_path), "tiny.weights")
    write_image(tmp_path / "cat.png")
    write_text(tmp_path / "cat.txt", "1 .5 .5 .4 .4\n")
    write_text(tmp_path / "list", "cat.png\n")
    write_text(tmp_path / "labels", "cat\ndog\n")
    lists = "classes=2\ntrain=list\nvalid=list\ntest=list\nbackup=out\nresults=out\n"
    write_text(tmp_path / "d.data", f"{lists}names=labels\n")
    write_text(tmp_path / "c.data", f"{lists}labels=labels\n")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "detect tiny.cfg tiny.weights cat.png",
        "classify c.cfg c.weights cat.png",
        "classify c.cfg c.weights --valid c.data",
        "evaluate tiny.cfg tiny.weights d.data",
        "check d.data",
        "data duplicates d.data",
        "compare tiny.cfg,tiny.weights tiny.cfg,tiny.weights --image cat.png",
        "train d.data tiny.cfg --quiet --set max_batches=1 --set batch=2 --set subdivisions=1 --workers 0 --chart=",
        "detector test d.data tiny.cfg tiny.weights cat.png",
        "detector map d.data tiny.cfg tiny.weights",
        "detector valid d.data tiny.cfg tiny.weights",
        "detector recall d.data tiny.cfg tiny.weights",
        "classifier predict c.data c.cfg c.weights cat.png",
        "classifier valid c.data c.cfg c.weights",
        "classifier label c.data c.cfg c.weights",
        "classifier test c.data c.cfg c.weights",
        "classifier try c.data c.cfg c.weights cat.png 0",
        "classifier train c.data c.cfg",
        "imtest cat.png",
    ],
)
def test_every_command_that_reads_images_has_the_limit(
    folder: pathlib.Path, line: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    problem = "40x20 are 800 pixels, more than the limit of 799"
    status = cli.main([*line.split(), "--max-pixels", "799"])
    captured = capsys.readouterr()
    assert problem in captured.out + captured.err + caplog.text
    assert status == 1 or line.startswith(("detector valid", "data duplicates"))
    caplog.clear()
    cli.main([*line.split(), "--max-pixels", "800"])
    captured = capsys.readouterr()
    assert problem not in captured.out + captured.err + caplog.text
    assert "max_pixels has no effect" not in captured.err


def test_all_pages_of_a_tiff_count(tmp_path: pathlib.Path) -> None:
    pages = [Image.new("L", (10, 10), number) for number in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.tif", 4, max_pixels=400)[0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="10x40 are 400 pixels, more than the limit of 399"):
        read_image(tmp_path / "a.tif", 4, max_pixels=399)


def test_pages_of_other_sizes_are_not_decoded(tmp_path: pathlib.Path) -> None:
    pages = [Image.new("L", (10, 10)), Image.new("L", (3000, 3000))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_deflate")
    with pytest.raises(DataError, match=r"a\.tif: expected pages of one size, found 10x10 and 3000x3000"):
        read_image(tmp_path / "a.tif", 2)
