"""What ``export --int8`` refuses, and what the verb passes and prints."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from darknet_py import cli
from darknet_py.errors import DarknetError, DataError
from darknet_py.network import Network
from darknet_py.quantization import int8_export
from darknet_py.quantization.agreement import Agreement
from darknet_py.quantization.int8_export import export_int8
from darknet_py.quantization.result import Int8Result
from tests.helpers import int8_models

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra export is not installed")

RESULT = Int8Result(
    path="a.onnx",
    runtime="ONNX Runtime",
    quantizer="onnxruntime 1.0",
    processor="with VNNI",
    data="x.data",
    images=5,
    weight_bits=8,
    layers=2,
    in_float=("1 [convolutional]",),
    scores={"float": {"mAP@0.50": 0.5}, "int8": {"mAP@0.50": 0.4961}},
    agreement=Agreement(3, 4, "boxes"),
    ms={"float": 2.0, "int8": 1.0},
    bytes={"float": 4_000_000, "int8": 1_000_000},
)
TEXT = """\
a.onnx: int8 by onnxruntime 1.0, calibrated with 5 images of x.data
       mAP@0.50, %   ms   MB
float        50.00  2.0  4.0
int8         49.61  1.0  1.0
2 convolutional layers in int8, weights of 8 bits; in float: 1 [convolutional]
3 of 4 boxes of the float file are found; ONNX Runtime on a processor with VNNI
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return int8_models.dataset(tmp_path_factory.mktemp("digits"), 2)


REFUSALS = {
    "a.pt2": ({}, "int8 files are of ONNX or OpenVINO: expected a name that ends in .onnx or .xml"),
    "a.onnx": ({"heads": "nms"}, "mAP of an int8 file needs all boxes: expected heads=raw or boxes"),
    "b.onnx": ({"opset": 12}, "opset: int8 files need 13 or later, got 12"),
    "c.onnx": ({"calibration_images": 0}, "calibration_images: expected 1 or more, got 0"),
    "d.onnx": ({"weight_bits": 4}, "weight_bits: expected 7 or 8, got 4"),
    "e.onnx": ({"max_drop": -1.0}, "max_drop: expected 0 or more points, got -1"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused(name: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options, message = REFUSALS[name]
    with pytest.raises(DarknetError, match=re.escape(message)):
        export_int8(int8_models.digits(), tmp_path / name, data, progress=False, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_image_of_the_data_is_not_replaced(data: pathlib.Path) -> None:
    target = data.parent / "valid.onnx"
    labels = data.parent / "valid.txt"
    labels_as_onnx = data.parent / "list.onnx"
    labels_as_onnx.write_bytes(labels.read_bytes())
    text = data.read_text()
    own = data.parent / "own.data"
    own.write_text(text.replace("valid.txt", "list.onnx"))
    with pytest.raises(DarknetError, match=r"list\.onnx"):
        export_int8(int8_models.digits(), labels_as_onnx, own, progress=False)
    assert not target.exists()
    assert labels_as_onnx.read_bytes() == labels.read_bytes()


LINES = {
    "--int8": "--int8: expected --calibrate DATA",
    "--calibrate x.data": "--calibrate: expected --int8 with it",
    "--max-drop 1": "--max-drop: expected --int8 with it",
    "--int8 --calibrate x.data --fp16": "--int8: expected no --fp16",
    "--int8 --calibrate x.data --allow-non-finite": "--int8: expected no --allow-non-finite",
    "--int8 --calibrate x.data --format ncnn": "--int8: expected --format onnx or openvino, got ncnn",
}


def test_the_verb_passes_what_is_given_and_prints_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = []

    def record(_network: Network, path: str, data: str, **options: Any) -> Int8Result:
        calls.append((path, data, options))
        options["on_step"]("a step")
        return RESULT

    monkeypatch.setattr(int8_export, "export_int8", record)
    line = "--int8 --calibrate x.data --seed 3 --max-drop 1 --calibration-images 5 --heads boxes --format openvino"
    assert cli.main(["export", "digits", *line.split()]) == 0
    out, err = capsys.readouterr()
    assert out == TEXT
    assert err == "a step\n"
    path, data, options = calls.pop()
    assert (path, data) == ("digits.int8.xml", "x.data")
    given = {"seed": 3, "max_drop": 1.0, "calibration_images": 5, "heads": "boxes", "progress": True}
    assert given.items() <= options.items()
    assert not {"weight_bits", "protocol", "subset"} & options.keys()  # the function's own defaults
    assert cli.main(["export", "digits", "--int8", "--calibrate", "x.data", "-o", "a.onnx", "--quiet"]) == 0
    assert calls[0][0] == "a.onnx"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("line", LINES)
def test_options_that_do_not_fit_are_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "digits", *line.split()]) == 1
    assert LINES[line] in capsys.readouterr().err


def test_missing_images_are_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        export_int8(int8_models.digits(), tmp_path / "a.onnx", tmp_path / "empty", progress=False)
