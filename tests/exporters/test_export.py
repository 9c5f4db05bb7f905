"""Export: other runtimes give PyTorch's outputs, and a file with wrong outputs is not kept."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import pathlib
import re
import sys
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.exporters import metadata
from darknet_py.exporters.exporter import export
from darknet_py.exporters.onnx import model
from darknet_py.exporters.onnx.model import to_onnx
from darknet_py.exporters.traceable import TraceableNetwork
from darknet_py.exporters.verify import verify_outputs
from darknet_py.postprocess import Heads
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from tests.helpers import random_networks
from tests.helpers.export_networks import DETECTOR, STATEFUL, detector

MODULE = sys.modules["darknet_py.exporters.exporter"]  # the package's attribute of that name is the function

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")


@pytest.mark.parametrize("heads", ["raw", pytest.param("boxes", marks=pytest.mark.slow)])
def test_batch_and_size_are_dynamic(heads: str, tmp_path: pathlib.Path) -> None:
    net = detector()
    export(net, tmp_path / "a.onnx", heads=heads, dynamic=True)
    run, module = OnnxModel(tmp_path / "a.onnx").run, TraceableNetwork(net, Heads(heads))
    for shape in ((1, 3, 96, 64), (3, 3, 64, 128), (8, 3, 80, 80)):
        x = random_networks.random(*shape, low=0)
        for expected, output in zip(module(x), run([x.numpy()]), strict=True):
            assert float((expected - torch.from_numpy(output)).square().mean() / expected.square().mean()) < 1e-8
    if heads == "raw":
        for expected, plain in zip(module(x), net(x), strict=True):
            torch.testing.assert_close(expected, plain, rtol=1e-4, atol=1e-5)
    assert_readable(tmp_path / "a.onnx", "yolo" if heads == "raw" else "boxes")


def assert_readable(path: pathlib.Path, kind: str) -> None:
    """Dynamic dimensions have names, all weights are used, and there is nothing of torch's notes on source code."""
    graph = onnx.load(path).graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    sizes = ["height/8", "width/8"]
    maps = {"yolo_3": ["batch", 18, *sizes], "yolo_8": ["batch", 9, *sizes]}
    rows = {"boxes": ["batch", "boxes", 4], "scores": ["batch", "boxes", 4]}
    assert shapes == {"input": ["batch", 3, "height", "width"]} | (maps if kind == "yolo" else rows)
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    assert b"stack_trace" not in path.read_bytes()


def test_states_are_inputs_and_outputs(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(STATEFUL)
    export(net, tmp_path / "a.onnx", dynamic="batch")
    model = onnx.load(tmp_path / "a.onnx")
    assert [value.name for value in model.graph.input] == ["input", "state_0_0", "state_1_0", "state_1_1", "state_2_0"]
    assert [value.name for value in model.graph.output][1:] == [f"next_{v.name}" for v in model.graph.input][1:]
    run = OnnxModel(tmp_path / "a.onnx").run
    states = [tensor.numpy() for tensor in TraceableNetwork(net, Heads.RAW).initial_state(3)]
    for step in range(4):
        x = random_networks.random(3, 6, seed=step)
        y, *states = run([x.numpy(), *states])
        with torch.inference_mode():
            np.testing.assert_allclose(y, net(x)[0], atol=1e-6)
    assert net[0].state is not None, "export does not change the state of the network"


def test_metadata_holds_names_heads_and_hashes(tmp_path: pathlib.Path) -> None:
    net = detector()
    darknet_py.save_weights(net, tmp_path / "a.weights")
    names = ["a", "b", "ç", "d"]
    model = to_onnx(net, heads="boxes", names=names, threshold=0.3, letterbox=True)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(props["names"]) == names
    assert (props["heads"], props["threshold"], props["nms"], props["resize"]) == (
        "boxes",
        "0.3",
        "0.45",
        "letterbox",
    )
    assert json.loads(props["head_options"])[0]["anchors"] == [[10, 14], [23, 27]]
    assert props["weights_sha256"] == sha256((tmp_path / "a.weights").read_bytes()).hexdigest()
    assert props["cfg_sha256"] == sha256(DETECTOR.format(kind="greedynms").encode()).hexdigest()
    assert metadata.describe(random_networks.network(STATEFUL), heads=Heads.RAW, outputs=[])["input"] == "values 0..1"


UNEQUAL = """
[net]
width=12
height=12
channels=3
[conv]
filters=4
size=3
pad=1
xnor=1
batch_normalize=1
activation=leaky
[conv]
filters=6
size=3
pad=1
xnor=1
stride=2
activation=leaky
[shortcut]
from=-2
activation=linear
"""


def test_opencv_can_read_shortcuts_of_unequal_maps_and_binary_layers(tmp_path: pathlib.Path) -> None:
    assert export(random_networks.network(UNEQUAL), tmp_path / "a.onnx", dynamic="batch").relative_rms < 1e-5
    graph = onnx.load(tmp_path / "a.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    assert "ScatterND" not in {node.op_type for node in graph.node}
    assert not [node.name for node in graph.node if node.input and weights.issuperset(node.input)]


def test_a_pooling_that_skips_cells_pads_nothing() -> None:
    """Of 8 cells, single ones with stride 2 are every second; OpenCV 4 and Core ML know no negative padding."""
    net = random_networks.network("[net]\nwidth=8\nheight=8\nchannels=3\n[maxpool]\nsize=1\nstride=2\n")
    nodes = [node.op_type for node in to_onnx(net).graph.node]
    assert nodes.count("MaxPool") == 1
    assert "Pad" not in nodes


def test_fp16_files_store_half_precision_weights(tmp_path: pathlib.Path) -> None:
    result = export(detector(), tmp_path / "a.onnx", heads="boxes", fp16=True)
    assert 0 < result.relative_rms < 2e-2
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types
    assert onnx.load(tmp_path / "a.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_torch_export_files_give_the_same_outputs(tmp_path: pathlib.Path) -> None:
    net = detector()
    assert export(net, tmp_path / "a.pt2", dynamic=True, names=["a", "b", "c", "d"]).max_abs_difference == 0
    notes = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=notes)
    x = random_networks.random(3, 3, 64, 64, low=0)
    torch.testing.assert_close(list(program.module()(x)), net(x), rtol=1e-4, atol=1e-5)
    assert json.loads(json.loads(notes["metadata.json"])["names"]) == ["a", "b", "c", "d"]


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_files_are_verified(tmp_path: pathlib.Path) -> None:
    result = export(detector(), tmp_path / "a.xml", heads="nms", dynamic="batch")
    assert result.runtime == "OpenVINO"
    assert result.relative_rms < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml"]


def test_a_large_model_has_its_weights_in_a_second_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_MAX_BYTES", 1000)
    net = random_networks.network(DETECTOR.format(kind="default").replace("filters=8", "filters=80"))
    export(net, tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    OnnxModel(tmp_path / "a.onnx")


def test_a_file_with_other_outputs_is_not_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = detector(), detector()
    other[0].get_parameter("weights").data[0, 0, 0, 0] += 0.3
    module = TraceableNetwork(other, Heads.RAW)
    with pytest.raises(DarknetError, match="outputs differ from PyTorch"):
        verify_outputs(net, lambda arrays: [y.numpy() for y in module(torch.from_numpy(arrays[0]))])
    monkeypatch.setattr(MODULE, "to_onnx", lambda _, **options: to_onnx(other, **options))
    with pytest.raises(DarknetError, match="outputs differ from PyTorch"):
        export(net, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_its_runtime_cannot_load_is_removed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_truncated(model: Any, path: pathlib.Path) -> bool:
        path.write_bytes(model.SerializeToString()[:1000])
        return True

    monkeypatch.setattr(MODULE, "write_onnx", write_truncated)
    with pytest.raises(DarknetError, match="ONNX Runtime cannot load it"):
        export(detector(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_runtime_a_file_is_not_verified(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "is_onnxruntime_installed", lambda: False)
    assert str(export(detector(), tmp_path / "a.onnx")).endswith("a.onnx: not verified, its runtime is not installed")
    assert (tmp_path / "a.onnx").exists()


def test_export_restores_the_levels_of_loggers(tmp_path: pathlib.Path) -> None:
    names = ("", "torch.onnx", "onnxscript")
    before = [logging.getLogger(name).level for name in names]
    export(detector(), tmp_path / "a.onnx")
    assert [logging.getLogger(name).level for name in names] == before
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (STATEFUL, {"heads": "boxes"}, "the network has no detection head"),
        (STATEFUL, {"dynamic": "size"}, "the input is a vector of fixed length"),
        (STATEFUL, {"dynamic": "width"}, "dynamic: expected True, False, 'batch' or 'size'"),
        (STATEFUL, {"opset": 10}, "opset: expected 11 to"),
        (STATEFUL, {"opset": 99}, "got 99"),
        (STATEFUL, {"threshold": 2}, "threshold: expected a number in 0..1, got 2"),
        (STATEFUL, {"nms": -0.1}, "nms: expected a number in 0..1, got -0.1"),
        (random_networks.TEXT, {"dynamic": "size"}, "has a fixed input size, 4 x 4: expected dynamic='batch' or False"),
    ],
)
def test_unsupported_options_are_refused(
    text: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DarknetError, match=re.escape(message)):
        export(random_networks.network(text), tmp_path / "a.onnx", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("none/a.onnx", {}, "none/a.onnx: there is no folder "),
        ("a.engine", {}, "ends in .onnx, .pt2, .xml (OpenVINO), .ncnn.param, .tflite or .mlpackage (Core ML)"),
        ("a.pt2", {"heads": "nms"}, "heads=nms needs ONNX or OpenVINO"),
    ],
)
def test_unsupported_files_are_refused(
    name: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DarknetError, match=re.escape(message)):
        export(detector(), tmp_path / name, **options)


def test_convert_and_export_remain_functions_when_their_modules_are_imported() -> None:
    importlib.import_module("darknet_py.conversion.checkpoints")
    assert callable(darknet_py.convert)
    assert callable(darknet_py.export)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_nan_and_inf_are_a_difference(wrong: float) -> None:
    net = detector()
    module = TraceableNetwork(net, Heads.RAW)

    def run(arrays: list[Any]) -> list[Any]:
        outputs = [output.numpy().copy() for output in module(torch.from_numpy(arrays[0]))]
        outputs[0][0, 3, 2, 1] = wrong
        return outputs

    with pytest.raises(DarknetError, match="outputs differ from PyTorch: max abs difference inf"):
        verify_outputs(net, run)


def test_the_command_exports_a_checkpoint(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = detector()
    net.names = ("a", "b", "c", "d")
    darknet_py.save(net, tmp_path / "a.pt")
    assert cli.main(["export", str(tmp_path / "a.pt"), "-o", str(tmp_path / "a.onnx"), "--heads", "boxes"]) == 0
    assert re.fullmatch(
        r"\S+a.onnx: verified with ONNX Runtime: max abs difference \S+, \S+ relative to the RMS; "
        r"boxes differ by at most \S+ pixels\n",
        capsys.readouterr().out,
    )
    props = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(props["names"]) == ["a", "b", "c", "d"]
