"""``darknet-py compare``: output, exit status and errors."""

from __future__ import annotations

import json
import pathlib

import pytest

from darknet_py import cli, loading
from darknet_py.compare.report import compare_models
from darknet_py.errors import DarknetError
from tests.helpers import noise_dataset

A = "tiny.cfg,tiny.weights"


@pytest.fixture(autouse=True)
def tiny(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector of three layers in the working directory, and a cfg that differs in the first activation."""
    loading.save(noise_dataset.detector(tmp_path), tmp_path / "tiny.weights")
    (tmp_path / "b.cfg").write_text(noise_dataset.CFG.replace("leaky", "relu"))
    monkeypatch.chdir(tmp_path)


def test_equal_models_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", A, A, "--conf", "0.4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A      tiny.cfg,tiny.weights (this package, alexeyab)"
    assert lines[2] == "input  64 x 64 x 3, noise with seed 0"
    assert lines[4] == "0  convolutional   8 x 8 x 8  0.0e+00"
    assert lines[-4] == "layers: 3 of 3 compared, all within 0.0001"
    assert lines[-3].endswith(" matched")
    assert lines[-2] == "boxes: differ by at most 0.000 pixels and 0.00000 in confidence"
    assert lines[-1] == "the same"


def test_different_models_exit_with_1_and_name_the_cause(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", A, "b.cfg,tiny.weights"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].startswith("0  convolutional   8 x 8 x 8  ")
    assert lines[4].endswith("  <-- first above 0.0001")
    assert lines[8:10] == ["first difference: layer 0 [convolutional]", "  activation: leaky in A, relu in B"]
    assert lines[-1] == "not the same"


def test_json_on_stdout_replaces_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", A, "b.cfg,tiny.weights", "--json", "-", "--imgsz", "96", "64"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["same"], report["first"]["number"], len(report["layers"])) == (False, 0, 3)
    assert report["layers"][2]["shape"] == [14, 8, 12]
    assert report["causes"] == ["activation: leaky in A, relu in B"]


def test_compare_takes_an_image_and_a_tolerance(tmp_path: pathlib.Path) -> None:
    noise_dataset.images(tmp_path)
    assert cli.main(["compare", A, A, "--image", "set/0.png"]) == 0
    assert cli.main(["compare", A, "b.cfg,tiny.weights", "--tolerance", "100", "--conf", "1"]) == 0


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ("tiny.cfg", "no weights: expected tiny.cfg,FILE.weights"),
        ("missing.onnx", "missing.onnx: no such file"),
        ("missing.cfg,x.weights", "missing.cfg: no such file"),
        ("darknet:missing.so:" + A, "missing.so: No such file or directory"),
        ("darknet:./fake.so:" + A, "not a darknet library: expected the function get_network_boxes"),
    ],
)
def test_errors_name_the_model(b: str, message: str) -> None:
    pathlib.Path("fake.so").write_bytes(b"not a library")
    with pytest.raises(DarknetError, match=message):
        compare_models(A, b)
