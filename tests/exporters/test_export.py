"""Export: other runtimes give PyTorch's numbers and Darknet's boxes, and a wrong file is not kept."""

from __future__ import annotations

import importlib
import json
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
from darknet_py.exporters.exporter import export
from darknet_py.exporters.onnx import model
from darknet_py.exporters.onnx.model import metadata, to_onnx
from darknet_py.exporters.onnx.session import create_session
from darknet_py.exporters.traceable import Heads, Program
from darknet_py.exporters.verify import check, runner
from tests.helpers import random_networks
from tests.helpers.export_networks import DETECTOR, STATEFUL, detector

MODULE = sys.modules["darknet_py.exporters.exporter"]  # the package's attribute of that name is the function

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")


@pytest.mark.parametrize("heads", ["raw", "boxes"])
def test_open_batch_and_size(heads: str, tmp_path: pathlib.Path) -> None:
    net = detector()
    export(net, tmp_path / "a.onnx", heads=heads, dynamic=True)
    run, program = runner(create_session(tmp_path / "a.onnx")), Program(net, Heads(heads))
    for shape in ((1, 3, 96, 64), (3, 3, 64, 128), (8, 3, 80, 80)):
        x = random_networks.random(*shape, low=0)
        for mine, theirs in zip(program(x), run([x.numpy()]), strict=True):
            assert float((mine - torch.from_numpy(theirs)).square().mean() / mine.square().mean()) < 1e-8
    if heads == "raw":
        for mine, plain in zip(program(x), net(x), strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_states_go_in_and_come_out(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(STATEFUL)
    export(net, tmp_path / "a.onnx", dynamic="batch")
    model = onnx.load(tmp_path / "a.onnx")
    assert [value.name for value in model.graph.input] == ["input", "state_0_0", "state_1_0", "state_1_1", "state_2_0"]
    assert [value.name for value in model.graph.output][1:] == [f"next_{v.name}" for v in model.graph.input][1:]
    run = runner(create_session(tmp_path / "a.onnx"))
    states = [tensor.numpy() for tensor in Program(net, Heads.RAW).start(3)]
    for step in range(4):
        x = random_networks.random(3, 6, seed=step)
        y, *states = run([x.numpy(), *states])
        with torch.inference_mode():
            np.testing.assert_allclose(y, net(x)[0], atol=1e-6)
    assert net[0].state is not None, "the network's own state is its own"


def test_metadata_travels_inside(tmp_path: pathlib.Path) -> None:
    net = detector()
    darknet_py.save_weights(net, tmp_path / "a.weights")
    names = ["a", "b", "ç", "d"]
    model = to_onnx(net, heads="boxes", names=names, threshold=0.3, letterbox=True)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(found["names"]) == names
    assert (found["heads"], found["threshold"], found["nms"], found["resize"]) == ("boxes", "0.3", "0.45", "letterbox")
    assert json.loads(found["head_options"])[0]["anchors"] == [[10, 14], [23, 27]]
    assert found["weights_sha256"] == sha256((tmp_path / "a.weights").read_bytes()).hexdigest()
    assert found["cfg_sha256"] == sha256(DETECTOR.format(kind="greedynms").encode()).hexdigest()
    assert metadata(random_networks.network(STATEFUL))["input"] == "values 0..1"


def test_poolings_take_their_border_themselves() -> None:
    kinds = [node.op_type for node in to_onnx(detector()).graph.node]
    assert "Pad" not in kinds
    assert kinds.count("MaxPool") == 2
    assert "BatchNormalization" not in kinds


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
    assert export(random_networks.network(UNEQUAL), tmp_path / "a.onnx", dynamic="batch").relative < 1e-5
    graph = onnx.load(tmp_path / "a.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    assert "ScatterND" not in {node.op_type for node in graph.node}
    assert not [node.name for node in graph.node if node.input and weights.issuperset(node.input)]


@pytest.mark.parametrize("flips", [1, 100])
def test_a_binary_network_is_judged_by_an_input_that_flips_no_sign(flips: int) -> None:
    net = random_networks.network(UNEQUAL)
    program, calls = Program(net, Heads.RAW), []

    def run(arrays: list[Any]) -> list[Any]:
        calls.append(arrays[0])
        off = 1 if len(calls) <= flips else 0
        return [y.numpy() + off for y in program(torch.from_numpy(arrays[0]))]

    found = check(net, run)
    assert len(calls) == (2 if flips == 1 else 8)
    assert (found.largest == 0) == (flips == 1)


def test_half_precision(tmp_path: pathlib.Path) -> None:
    done = export(detector(), tmp_path / "a.onnx", heads="boxes", fp16=True)
    assert 0 < done.relative < 2e-2
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types
    assert onnx.load(tmp_path / "a.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_torch_export(tmp_path: pathlib.Path) -> None:
    net = detector()
    assert export(net, tmp_path / "a.pt2", dynamic=True, names=["a", "b", "c", "d"]).difference == 0
    notes = {"names.txt": ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=notes)
    x = random_networks.random(3, 3, 64, 64, low=0)
    torch.testing.assert_close(list(program.module()(x)), net(x), rtol=1e-4, atol=1e-5)
    assert json.loads(notes["names.txt"]) == ["a", "b", "c", "d"]


def test_openvino(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    done = export(detector(), tmp_path / "a.xml", heads="nms", dynamic="batch")
    assert done.runtime == "OpenVINO"
    assert done.relative < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml"]


def test_a_large_model_keeps_its_weights_beside(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_LIMIT", 1000)
    net = random_networks.network(DETECTOR.format(kind="default").replace("filters=8", "filters=80"))
    export(net, tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    runner(create_session(tmp_path / "a.onnx"))


def test_a_wrong_file_is_not_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = detector(), detector()
    other[0].get_parameter("weights").data[0, 0, 0, 0] += 0.3
    program = Program(other, Heads.RAW)
    with pytest.raises(DarknetError, match="gives other numbers than PyTorch"):
        check(net, lambda arrays: [y.numpy() for y in program(torch.from_numpy(arrays[0]))])
    monkeypatch.setattr(MODULE, "to_onnx", lambda _, **options: to_onnx(other, **options))
    with pytest.raises(DarknetError, match="gives other numbers"):
        export(net, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (STATEFUL, {"heads": "boxes"}, "the network has no detection head"),
        (STATEFUL, {"dynamic": "size"}, "the input is a vector"),
        (STATEFUL, {"dynamic": "width"}, "dynamic: expected True, False, 'batch' or 'size'"),
        (STATEFUL, {"opset": 11}, "opset: expected 18 to"),
        (STATEFUL, {"opset": 99}, "got 99"),
        (STATEFUL, {"threshold": 2}, "threshold: expected a number in 0..1, got 2"),
        (STATEFUL, {"nms": -0.1}, "nms: expected a number in 0..1, got -0.1"),
        (random_networks.TEXT, {"dynamic": "size"}, "has one size, 4 x 4: expected dynamic='batch' or False"),
    ],
)
def test_what_cannot_be_exported(text: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DarknetError, match=re.escape(message)):
        export(random_networks.network(text), tmp_path / "a.onnx", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("none/a.onnx", {}, "none/a.onnx: there is no folder "),
        ("a.engine", {}, "ends in .onnx, .pt2 or .xml"),
        ("a.pt2", {"heads": "nms"}, "heads=nms is a graph of ONNX"),
    ],
)
def test_what_a_suffix_cannot_be(name: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DarknetError, match=re.escape(message)):
        export(detector(), tmp_path / name, **options)


def test_the_function_keeps_its_name_when_the_module_is_imported() -> None:
    importlib.import_module("darknet_py.conversion.checkpoints")
    assert callable(darknet_py.convert)
    assert callable(darknet_py.export)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_a_difference(wrong: float) -> None:
    net = detector()
    program = Program(net, Heads.RAW)

    def run(arrays: list[Any]) -> list[Any]:
        outputs = [output.numpy().copy() for output in program(torch.from_numpy(arrays[0]))]
        outputs[0][0, 3, 2, 1] = wrong
        return outputs

    with pytest.raises(DarknetError, match="gives other numbers than PyTorch: by inf"):
        check(net, run)


def test_the_command_takes_a_checkpoint(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = detector()
    net.names = ("a", "b", "c", "d")
    darknet_py.save(net, tmp_path / "a.pt")
    assert cli.main(["export", str(tmp_path / "a.pt"), "-o", str(tmp_path / "a.onnx"), "--heads", "boxes"]) == 0
    assert re.fullmatch(r"\S+a.onnx: onnxruntime differs by at most \S+ \(\S+ of the rms\)\n", capsys.readouterr().out)
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(found["names"]) == ["a", "b", "c", "d"]
