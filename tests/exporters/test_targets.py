"""LiteRT and Core ML: what holds without their converters, and with them where they are installed."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import platform
import subprocess
import sys
import types
import zipfile
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.exporters import converter_process, coreml_conversion
from darknet_py.exporters.exporter import ExportResult, export
from darknet_py.runtimes import litert_models
from darknet_py.runtimes.reader import read_model
from tests.helpers import random_networks
from tests.helpers.export_networks import STATEFUL, detector

LITERT_FILE = pathlib.Path(__file__).parents[1] / "golden" / "litert" / "detector.tflite"
CONVERTERS = {
    "a.tflite": ("litert_torch", "litert-torch", "tflite"),
    "a.mlpackage": ("coremltools", "coremltools", "coreml"),
}
needs_coremltools = pytest.mark.skipif(
    importlib.util.find_spec("coremltools") is None, reason="the extra coreml is not installed"
)


def pretend(monkeypatch: pytest.MonkeyPatch, module: str, installed: bool) -> None:
    """A converter seems to be installed, or not."""
    find = importlib.util.find_spec
    found = find("sys") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: found if name == module else find(name, *rest))


@pytest.mark.parametrize("name", CONVERTERS)
def test_without_the_converter_there_is_one_sentence(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, package, extra = CONVERTERS[name]
    pretend(monkeypatch, module, False)
    with pytest.raises(DarknetError, match=rf"needs the package {package}: pip install 'darknet-torch\[{extra}\]'$"):
        export(detector(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.tflite", {"fp16": True}, "LiteRT files are float32 and of fixed size"),
        ("a.tflite", {"dynamic": "batch"}, "LiteRT files are float32 and of fixed size"),
        ("a.mlpackage", {"dynamic": "size"}, "Core ML files are of fixed size"),
        ("a.tflite", {"heads": "nms"}, "heads=nms needs ONNX or OpenVINO"),
        ("a.mlpackage", {"heads": "nms"}, "heads=nms needs ONNX or OpenVINO"),
        ("a.tflite", {}, "does not keep the state of recurrent layers: expected .onnx"),
        ("a.mlpackage", {}, "does not keep the state of recurrent layers: expected .onnx"),
    ],
)
def test_what_the_formats_lack_is_refused(
    name: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, CONVERTERS[name][0], True)
    with pytest.raises(DarknetError, match=message):
        export(detector() if options else random_networks.network(STATEFUL), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_the_format_needs_its_suffix(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, suffix in (("pt2", ".pt2"), ("tflite", ".tflite"), ("coreml", ".mlpackage")):
        assert cli.main(["export", "digits", "-o", str(tmp_path / "a.onnx"), "--format", form]) == 1
        assert f"a name that ends in {suffix}, as --format is {form}" in capsys.readouterr().err


def test_a_package_is_not_called_run() -> None:
    text = str(ExportResult("a.mlpackage", coreml_conversion.NOT_RUN, 1e-6, 1e-7, 1e-5))
    assert "verified with PyTorch, operation by operation (not run by Core ML, which needs macOS)" in text


def test_a_failed_converter_is_one_sentence(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DarknetError, match=r"^IndexError: list index out of range$"):  # its traceback's last line
        converter_process.run_module("coreml_process", [], tmp_path)
    ended = subprocess.CompletedProcess([], -6, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: ended)
    with pytest.raises(DarknetError, match="its process was ended by SIGABRT"):
        converter_process.run_module("coreml_process", [], tmp_path)


def test_the_command_says_that_a_conversion_takes_a_minute(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, "litert_torch", True)
    failed = subprocess.CompletedProcess([], 1, "", "no memory")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: failed)
    line = ["export", "digits", "-o", str(tmp_path / "a.tflite")]
    error = "darknet-py: a.tflite: LiteRT: no memory\n"
    for options, errors in (
        ([], f"converting with litert-torch, which takes a minute or more\n{error}"),
        (["--quiet"], error),
    ):
        assert cli.main([*line, *options]) == 1
        assert capsys.readouterr().err == errors


def test_a_package_replaces_a_package_only(tmp_path: pathlib.Path) -> None:
    def package(text: str) -> pathlib.Path:
        folder = tmp_path / "temporary" / text
        (folder / "Data").mkdir(parents=True)
        (folder / "Manifest.json").write_text(text)
        return folder

    target = tmp_path / "a.mlpackage"
    for text in ("first", "second"):
        coreml_conversion.replace_package(package(text), target)
        assert (target / "Manifest.json").read_text() == text
    assert (tmp_path / "temporary" / "old" / "Manifest.json").read_text() == "first"
    (tmp_path / "b.mlpackage").mkdir()
    (tmp_path / "b.mlpackage" / "mine").touch()
    with pytest.raises(DarknetError, match=r"b\.mlpackage: exists and is no package of Core ML: expected another name"):
        coreml_conversion.replace_package(package("third"), tmp_path / "b.mlpackage")
    assert (tmp_path / "b.mlpackage" / "mine").exists()


def test_core_ml_is_refused_on_other_systems(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DarknetError, match=r"a\.mlpackage: no such file"):
        read_model(tmp_path / "a.mlpackage")
    (tmp_path / "a.mlpackage").mkdir()
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(
        DarknetError, match=r"a\.mlpackage: Core ML runs on macOS only: on Linux expected another format"
    ):
        darknet_py.Detector(tmp_path / "a.mlpackage")


def test_core_ml_models_are_called_by_the_names_of_their_description(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for coremltools on macOS, with the fields of its protocol buffers."""

    def feature(name: str, *shape: int) -> types.SimpleNamespace:
        array = types.SimpleNamespace(shape=shape, dataType=65568)
        return types.SimpleNamespace(name=name, type=types.SimpleNamespace(multiArrayType=array))

    description = types.SimpleNamespace(
        input=[feature("input", 1, 3, 2, 2)],
        output=[feature("b", 1, 3, 2, 2), feature("a", 1, 3, 2, 2)],
        metadata=types.SimpleNamespace(userDefined={"producer": "darknet_py"}),
    )

    class Model:
        def __init__(self, path: str) -> None:
            self.path = path

        def get_spec(self) -> types.SimpleNamespace:
            return types.SimpleNamespace(description=description)

        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            if inputs["input"].shape[2] != 2:
                raise RuntimeError("MultiArray shape\n is wrong")
            return {"a": inputs["input"] + 1, "b": np.float16(inputs["input"])}

    package = types.SimpleNamespace(models=types.SimpleNamespace(MLModel=Model))
    monkeypatch.setitem(sys.modules, "coremltools", package)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    (tmp_path / "a.mlpackage").mkdir()
    model = read_model(tmp_path / "a.mlpackage")
    assert [tuple(spec) for spec in model.inputs] == [("input", (1, 3, 2, 2), "float32")]
    assert (model.outputs, model.metadata["producer"]) == (("b", "a"), "darknet_py")
    x = np.ones((1, 3, 2, 2), np.float32)
    outputs = model.run([x])
    assert [float(output.max()) for output in outputs] == [1, 2]
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}
    with pytest.raises(DarknetError, match=r"a\.mlpackage: Core ML: MultiArray shape is wrong"):
        model.run([x[:, :, :1]])


@needs_coremltools
@pytest.mark.slow
@pytest.mark.parametrize("fp16", [False, True])
def test_a_package_has_the_networks_outputs_names_and_metadata(fp16: bool, tmp_path: pathlib.Path) -> None:
    result = export(detector(), tmp_path / "a.mlpackage", heads="boxes", fp16=fp16, names=["a", "b", "ç", "d"])
    ulp = np.finfo(np.float32).eps  # of outputs below 2; coremltools computes constants with numpy
    assert (result.max_abs_difference > 100 * ulp) == fp16
    assert fp16 or result.max_abs_difference <= 2 * ulp
    assert result.box_pixels < (1 if fp16 else 1e-3)
    code = (
        "import sys, json, coremltools as ct; spec = ct.models.MLModel(sys.argv[1], skip_model_load=True).get_spec();"
        "d = spec.description; values = [*d.input, *d.output];"
        "print(json.dumps([[[v.name, list(v.type.multiArrayType.shape)] for v in values],"
        "dict(d.metadata.userDefined)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.mlpackage"], capture_output=True, text=True, check=True
    )
    values, entries = json.loads(done.stdout.splitlines()[-1])
    assert values[0] == ["input", [1, 3, 96, 64]]
    assert [name for name, _ in values] == ["input", "boxes", "scores"]
    assert json.loads(entries["names"]) == ["a", "b", "ç", "d"]
    assert entries["fp16"] == str(fp16).lower()


@needs_coremltools
@pytest.mark.slow
def test_a_shortcut_of_the_first_channels_is_converted(tmp_path: pathlib.Path) -> None:
    sections = "[convolutional]\nfilters=4\n[convolutional]\nfilters=2\n[shortcut]\nfrom=-2\n"
    network = random_networks.network(f"[net]\nwidth=8\nheight=8\nchannels=3\n{sections}")
    assert export(network, tmp_path / "a.mlpackage").relative_rms < 1e-6


def test_metadata_are_behind_the_model(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"a model" * 100)
    assert litert_models.read_metadata(str(path)) == {}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "a")
    assert litert_models.read_metadata(str(path)) == {}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", '{"names": "[]"}')
    assert litert_models.read_metadata(str(path)) == {"names": "[]"}
    assert path.read_bytes().startswith(b"a model")
    path.write_bytes(b"a model" * 100)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", "[1]")
    with pytest.raises(DarknetError, match=r"a\.tflite: invalid metadata: expected a JSON object"):
        litert_models.read_metadata(str(path))


def test_a_litert_file_gives_the_boxes_of_the_network() -> None:
    """A file that litert-torch 0.10 converted from ``detector()``; only the interpreter is needed."""
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (height, 90, 3), dtype=np.uint8) for height in (60, 120, 45)]
    found = darknet_py.Detector(LITERT_FILE, threshold=0.35, batch=2)
    assert (found.names, found.letterbox) == (["a", "b", "c", "d"], True)
    expected = darknet_py.Detector(detector(), letterbox=True, threshold=0.35)
    for results, wanted in zip(found(images), expected(images), strict=True):
        assert len(results.boxes) == len(wanted.boxes) > 0
        np.testing.assert_array_equal(results.boxes.cls, wanted.boxes.cls)
        np.testing.assert_allclose(results.boxes.conf, wanted.boxes.conf, atol=1e-5)
        np.testing.assert_allclose(results.boxes.xyxy, wanted.boxes.xyxy, atol=1e-2)


def test_damaged_litert_files_are_one_message(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    (tmp_path / "a.tflite").write_bytes(b"no model" * 10)
    with pytest.raises(DarknetError, match=r"a\.tflite: LiteRT cannot load it"):
        read_model(tmp_path / "a.tflite")


def test_without_the_interpreter_there_is_one_sentence(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    (tmp_path / "a.tflite").write_bytes(b"a model")
    with pytest.raises(DarknetError, match=r"needs the package ai-edge-litert: pip install 'darknet-torch\[tflite\]'$"):
        darknet_py.Detector(tmp_path / "a.tflite")
