"""``check MODEL``: checkpoints."""

from __future__ import annotations

import math
import pathlib

import pytest
import torch

import darknet_py
from darknet_py import cli
from tests.helpers import noise_dataset
from tests.helpers.data_files import write_image


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """``tiny.cfg`` in the working directory, and its network with class names as a.pt and a.safetensors."""
    monkeypatch.chdir(tmp_path)
    network = noise_dataset.detector(tmp_path)
    network.names = ("cat", "dog")
    network.seen = 64
    for path in ("a.pt", "a.safetensors"):
        darknet_py.save(network, path)
    return tmp_path


@pytest.mark.parametrize("path", ["a.pt", "a.safetensors"])
def test_a_checkpoint_is_checked(folder: pathlib.Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["check", path], ["check", "tiny.cfg", path]):
        assert cli.main(line) == 0
        out = capsys.readouterr().out
        assert f"ok     {line[1]}: 3 layers" in out
        assert f"ok     {path}: fits, seen 64 images\nok     {path}: 2 class names\n" in out


def test_names_and_size_of_a_checkpoint_are_checked(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("three.names").write_text("a\nb\nc\n")
    assert cli.main(["check", "a.pt", "--names", "three.names"]) == 1
    assert "wrong  three.names: 3 class names, but the network has 2 classes" in capsys.readouterr().out
    assert cli.main(["check", "a.pt", "a.safetensors"]) == 1
    assert "a.pt: contains weights: expected no other weights, found a.safetensors" in capsys.readouterr().err


def test_what_is_wrong_with_a_checkpoint_is_said(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = darknet_py.load("a.pt")
    with torch.no_grad():
        network.get_parameter("layers.0.biases")[2] = math.nan
    darknet_py.save(network, "nan.pt", allow_non_finite=True)
    assert cli.main(["check", "nan.pt"]) == 1
    assert "wrong  nan.pt: the weights contain 1 NaN: layer 0 [convolutional] 1 NaN" in capsys.readouterr().out
    pathlib.Path("cut.pt").write_bytes(pathlib.Path("a.pt").read_bytes()[:-300])
    assert cli.main(["check", "cut.pt"]) == 1
    assert "darknet-py: cut.pt: " in capsys.readouterr().err
    text = pathlib.Path("tiny.cfg").read_text().replace("filters=8", "filters=9")
    pathlib.Path("other.cfg").write_text(text)
    assert cli.main(["check", "other.cfg", "a.pt"]) == 1
    assert "wrong  a.pt: layers.0.biases: expected (9,), found (8,)" in capsys.readouterr().out


def test_heads_of_different_classes_are_refused(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = (
        "[route]\nlayers=0\n[convolutional]\nfilters=18\nsize=1\n[yolo]\nmask=0,1\nanchors=9,9,8,8\nclasses=4\nnum=2\n"
    )
    pathlib.Path("two.cfg").write_text(pathlib.Path("tiny.cfg").read_text() + second)
    network = darknet_py.load("two.cfg")
    darknet_py.save(network, "two.weights")
    write_image(folder / "a.png")
    pathlib.Path("list").write_text("a.png\n")
    pathlib.Path("d.data").write_text("classes=4\nvalid=list\ntrain=list\n")
    message = "two.cfg: heads of 2 and 4 classes: expected the same classes= in all of them\n"
    for line in (
        "check two.cfg",
        "detect two.cfg two.weights a.png",
        "evaluate two.cfg two.weights d.data",
        "detector test d.data two.cfg two.weights a.png",
        "detector valid d.data two.cfg two.weights",
    ):
        assert cli.main(line.split()) == 1
        captured = capsys.readouterr()
        assert message in captured.out + captured.err
