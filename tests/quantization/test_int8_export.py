"""int8 files of ONNX Runtime and OpenVINO: mAP holds, layers that lose it stay in float, and each verb runs them."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.inference.exported_model import ExportedModel
from darknet_py.quantization.int8_export import export_int8
from darknet_py.quantization.result import Int8Result
from darknet_py.runtimes.reader import read_model
from tests.helpers import int8_models, random_networks

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra export is not installed")

SUFFIXES = (".onnx", ".xml")
PHOTOGRAPH = "darknet_py/demo/digits.png"


def require_nncf(suffix: str) -> None:
    if suffix == ".xml" and any(importlib.util.find_spec(name) is None for name in ("nncf", "openvino")):
        pytest.skip("int8 for OpenVINO needs it: pip install 'darknet-torch[int8]'")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return int8_models.dataset(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def results() -> dict[str, Int8Result]:
    return {}


def exported(
    suffix: str, data: pathlib.Path, results: dict[str, Int8Result], tmp_path_factory: pytest.TempPathFactory
) -> Int8Result:
    """Export the digits in int8, once for each runtime."""
    require_nncf(suffix)
    if suffix not in results:
        path = tmp_path_factory.mktemp("int8") / f"digits.int8{suffix}"
        # ONNX with decoded boxes and any batch, OpenVINO with the heads' outputs.
        options: dict[str, Any] = {"heads": "boxes", "dynamic": "batch"} if suffix == ".onnx" else {}
        network = int8_models.digits()
        results[suffix] = export_int8(
            network, path, data, calibration_images=12, repeats=1, weight_bits=7, progress=False, **options
        )
    return results[suffix]


@pytest.fixture(params=SUFFIXES)
def result(
    request: pytest.FixtureRequest,
    data: pathlib.Path,
    results: dict[str, Int8Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Int8Result:
    return exported(request.param, data, results, tmp_path_factory)


@pytest.fixture
def onnx_file(
    data: pathlib.Path, results: dict[str, Int8Result], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    return pathlib.Path(exported(".onnx", data, results, tmp_path_factory).path)


def test_map_of_the_digits_holds_and_the_file_is_smaller(result: Int8Result, data: pathlib.Path) -> None:
    found = evaluate(ExportedModel(result.path), data, progress=False).map
    expected = evaluate(int8_models.digits(), data, progress=False).map
    assert found == pytest.approx(result.scores["int8"]["mAP@0.50"])
    assert expected == pytest.approx(result.scores["float"]["mAP@0.50"])
    assert expected - found <= 0.005
    assert result.bytes["int8"] < 0.5 * result.bytes["float"]
    assert result.agreement.fraction > 0.9
    assert result.in_float == ("20 [convolutional]", "27 [convolutional]")
    assert result.layers == 14


def test_the_file_says_how_it_was_made(result: Int8Result) -> None:
    stored = read_model(result.path).metadata
    facts = json.loads(stored["int8"])
    assert facts["data"] == "digits.data"
    assert (facts["images"], facts["weight_bits"], facts["protocol"]) == (12, 7, "darknet")
    assert facts["scores"] == result.scores
    assert facts["in_float"] == list(result.in_float)
    assert re.match(r"(onnxruntime|nncf) \d", facts["quantizer"])
    text = str(result)
    assert "in float: 20 [convolutional], 27 [convolutional]" in text
    assert "weights of 7 bits" in text
    assert re.search(r"on a processor (with VNNI|without VNNI|VNNI unknown)$", text)


def test_a_qdq_file_has_int8_weights_with_a_scale_for_each_filter(onnx_file: pathlib.Path) -> None:
    import onnx

    graph = onnx.load(onnx_file).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [
        producers[node.input[1]]
        for node in convolutions
        if node.input[1] in producers and producers[node.input[1]].op_type == "DequantizeLinear"
    ]
    assert (len(convolutions), len(quantised)) == (16, 14)
    for node in quantised:
        weights, scales = tensors[node.input[0]], tensors[node.input[1]]
        assert weights.dtype == np.int8
        assert scales.shape == weights.shape[:1]
        assert -64 <= weights.min() < weights.max() <= 64  # seven bits
    # What decodes the last convolutions' outputs is in float: nothing is rounded on the way to an output.
    assert all(producers[output.name].op_type != "DequantizeLinear" for output in graph.output)


def test_detect_evaluate_compare_and_benchmark_run_the_file(
    onnx_file: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    image = str(next((data.parent / "valid").glob("*.png")))
    assert cli.main(["detect", str(onnx_file), image]) == 0
    assert capsys.readouterr().out.startswith(image)
    assert cli.main(["evaluate", str(onnx_file), str(data), "--quiet"]) == 0
    assert "mAP" in capsys.readouterr().out
    assert cli.main(["benchmark", str(onnx_file), "--repeats", "1", "--json", str(tmp_path / "times.json")]) == 0
    out = capsys.readouterr().out
    assert "7 bits" in out
    assert "VNNI" in out
    run = json.loads((tmp_path / "times.json").read_text())["runs"][str(onnx_file)]
    assert run["runtime"] == "ONNX Runtime"
    assert run["ms"] > 0


def test_the_file_is_an_engine_of_its_own_network(onnx_file: pathlib.Path, data: pathlib.Path) -> None:
    network = int8_models.digits()
    image = str(next((data.parent / "valid").glob("*.png")))
    boxes = darknet_py.Detector(network, engine=str(onnx_file))(image).boxes
    expected = darknet_py.Detector(onnx_file)(image).boxes
    assert boxes.xyxy.tolist() == expected.xyxy.tolist()
    assert len(boxes)
    plain = darknet_py.Detector(network)(image).boxes
    assert plain.xyxy.tolist() != boxes.xyxy.tolist()
    with pytest.raises(DarknetError, match=r"was exported from another network: its weights differ"):
        darknet_py.Detector(int8_models.spoilt_digits(), engine=str(onnx_file))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_layers_that_lose_map_are_kept_in_float_and_named(
    suffix: str, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    require_nncf(suffix)
    network = int8_models.spoilt_digits()
    steps: list[str] = []
    path = tmp_path / f"spoilt{suffix}"
    result = export_int8(network, path, data, calibration_images=12, repeats=1, progress=False, on_step=steps.append)
    assert f"{int8_models.SPOILT} [convolutional]" in result.in_float
    assert 0 < result.layers < 14
    assert result.scores["float"]["mAP@0.50"] - result.scores["int8"]["mAP@0.50"] <= 0.005
    first = next(step for step in steps if step.startswith("int8 with 0 of 14 layers in float"))
    lost = 100 * result.scores["float"]["mAP@0.50"] - float(first.split()[-2])
    assert lost > 5
    assert darknet_py.Detector(path)(str(next((data.parent / "valid").glob("*.png")))).boxes is not None


def test_data_without_labels_calibrates_without_map(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted((data.parent / "valid").glob("*.png"))[:4]:
        shutil.copy(file, images)
    result = export_int8(int8_models.digits(), tmp_path / "a.onnx", images, repeats=1, progress=False)
    assert result.scores == {}
    assert result.images == 4  # fewer than asked for
    assert str(result).endswith("images has no labels: no mAP or accuracy was measured")


@pytest.mark.slow
def test_a_file_that_finds_few_boxes_is_refused(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted((data.parent / "valid").glob("*.png"))[:4]:
        shutil.copy(file, images)
    with pytest.raises(DarknetError, match=r"finds \d+ of \d+ boxes of the float file: expected half of them or more"):
        export_int8(int8_models.spoilt_digits(), tmp_path / "b.onnx", images, repeats=1, progress=False)
    assert not (tmp_path / "b.onnx").exists()


def test_a_classifier_is_measured_by_accuracy(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=8\nsize=3\nstride=2\nactivation=leaky\n"
    text += "[conv]\nfilters=8\nsize=3\nactivation=leaky\n[conv]\nfilters=2\nsize=1\n[avgpool]\n[softmax]\n"
    network = random_networks.network(text)
    lines = []
    for number, file in enumerate(sorted((data.parent / "valid").glob("*.png"))[:6]):
        copy = tmp_path / f"{'cat' if number % 2 else 'dog'}_{number}.png"
        shutil.copy(file, copy)
        lines.append(str(copy))
    (tmp_path / "valid.txt").write_text("\n".join(lines))
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "a.data").write_text("valid=valid.txt\nlabels=labels.txt\n")
    result = export_int8(
        network, tmp_path / "a.onnx", tmp_path / "a.data", calibration_images=6, max_drop=100, repeats=1
    )
    assert list(result.scores["int8"]) == ["top-1"]
    assert result.agreement.kind == "classes"
    assert result.agreement.total == 6
    assert result.in_float == ("2 [conv]",)
    assert "top-1, %" in str(result)


def test_a_file_of_eight_bits_warns_where_they_saturate(
    onnx_file: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    from darknet_py.inference import exported_model

    model = onnx.load(onnx_file)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    facts = json.loads(entries["int8"]) | {"weight_bits": 8}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries | {"int8": json.dumps(facts)})
    onnx.save(model, tmp_path / "a.onnx")
    monkeypatch.setattr(exported_model, "is_x86", lambda: True)
    for has_vnni, count in ((True, 0), (None, 0), (False, 1)):
        caplog.clear()
        monkeypatch.setattr(exported_model, "has_vnni", lambda value=has_vnni: value)
        assert ExportedModel(tmp_path / "a.onnx").weight_bits == 8
        assert len(caplog.records) == count
    assert "expected a file with weights of 7 bits" in caplog.text
    assert ExportedModel(onnx_file).weight_bits == 7
