"""Files of older opsets: onnx's checker accepts them, and onnxruntime gives the default file's outputs."""

from __future__ import annotations

import copy
import pathlib
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.exporters.exporter import export
from darknet_py.exporters.onnx.model import OPSET, to_onnx, write_onnx
from darknet_py.exporters.onnx.opsets import lower_opset
from darknet_py.exporters.traceable import TraceableNetwork
from darknet_py.postprocess import Heads
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from tests.helpers import paths, random_networks
from tests.helpers.export_networks import detector

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

OLDER = {17: 8, 13: 7, 11: 6}  # opset: IR version of the release of onnx that it came with
GROUPS = """
[net]
width=16
height=16
channels=3
[conv]
filters=8
size=3
pad=1
activation=mish
[route]
layers=-1
groups=2
group_id=1
[conv]
filters=4
activation=swish
[upsample]
stride=2
[conv]
filters=24
activation=linear
[region]
classes=3
num=3
anchors=1,1,2,2,3,3
softmax=1
"""


def run(model: Any, arrays: list[Any]) -> list[Any]:
    return OnnxModel(model.SerializeToString()).run(arrays)


def assert_lowered_models_agree(model: Any, arrays: list[Any]) -> None:
    expected = run(model, arrays)
    for opset in OLDER:
        lowered = copy.deepcopy(model)
        lower_opset(lowered, opset)
        assert [entry.version for entry in lowered.opset_import] == [opset]
        assert lowered.ir_version == OLDER[opset]
        onnx.checker.check_model(lowered, full_check=True)
        for output, of_default in zip(run(lowered, arrays), expected, strict=True):
            np.testing.assert_allclose(output, of_default, rtol=1e-4, atol=1e-5 * np.abs(of_default).max())


def test_a_detector_with_nms_in_older_opsets() -> None:
    model = to_onnx(detector(), heads="nms")
    assert {"Mish", "Resize", "Loop"} <= {node.op_type for node in model.graph.node}
    assert_lowered_models_agree(model, [random_networks.random(1, 3, 96, 64, low=0).numpy()])


def test_parts_of_channels_and_softmax_in_older_opsets() -> None:
    net = random_networks.network(GROUPS)
    model = to_onnx(net)
    assert {"Split", "Mish", "Softmax"} <= {node.op_type for node in model.graph.node}
    assert_lowered_models_agree(model, [random_networks.random(1, *net.shape, low=0).numpy()])


def test_the_file_is_written_and_verified(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    darknet_py.save(random_networks.network(GROUPS), tmp_path / "a.pt")
    assert cli.main(["export", str(tmp_path / "a.pt"), "-o", str(tmp_path / "a.onnx"), "--opset", "11"]) == 0
    assert "verified with ONNX Runtime" in capsys.readouterr().out
    assert onnx.load(tmp_path / "a.onnx").opset_import[0].version == 11


def test_an_operator_that_the_opset_lacks_is_named(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(GROUPS.replace("swish", "selu"), path="my.cfg")
    message = r"my\.cfg: opset=11: there is no operator GreaterOrEqual: expected opset 12 or later"
    with pytest.raises(DarknetError, match=message):
        export(net, tmp_path / "a.onnx", opset=11)
    assert not list(tmp_path.iterdir())


def make_model(*nodes: Any, **constants: Any) -> Any:
    """A model of nodes from ``x`` [1, 2, 3, 4] to ``y``."""
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1, 2, 3, 4]) for name in "xy")
    tensors = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Resize", ["x", "", "s"], {"antialias": 1})], "operator Resize has no attribute antialias, here 1"),
        (
            [("ScatterElements", ["x", "s", "x"], {"reduction": "max"})],
            "operator ScatterElements has no attribute reduction, here max",
        ),
        ([("ReduceMax", ["x", "computed"], {})], "operator ReduceMax has no input axes that is computed"),
    ],
)
def test_what_an_older_operator_lacks_is_named(nodes: list[Any], message: str) -> None:
    made = [onnx.helper.make_node(op_type, inputs, ["y"], **options) for op_type, inputs, options in nodes]
    model = make_model(*made, s=np.ones(4, np.float32))
    with pytest.raises(ValueError, match=message):
        lower_opset(model, 11)


def test_a_default_that_differs_in_an_older_operator_is_written() -> None:
    model = make_model(onnx.helper.make_node("LogSoftmax", ["x"], ["y"]))  # over the last axis; in opset 11 from axis 1
    assert_lowered_models_agree(model, [random_networks.random(1, 2, 3, 4).numpy()])


def test_a_part_of_a_shape_is_cut_out_in_older_opsets() -> None:
    shape = onnx.helper.make_node("Shape", ["x"], ["s"], start=1, end=-1)
    product = onnx.helper.make_node("ReduceProd", ["s", "zero"], ["p"])
    cast = onnx.helper.make_node("Cast", ["p"], ["f"], to=onnx.TensorProto.FLOAT)
    total = onnx.helper.make_node("Mul", ["x", "f"], ["y"])
    x = random_networks.random(1, 2, 3, 4).numpy()
    model = make_model(shape, product, cast, total, zero=[0])
    np.testing.assert_array_equal(run(model, [x])[0], 6 * x)
    assert_lowered_models_agree(model, [x])


def test_a_type_that_an_older_operator_lacks_is_an_error(tmp_path: pathlib.Path) -> None:
    cast = onnx.helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT8)
    total = onnx.helper.make_node("Add", ["i", "i"], ["j"])
    back = onnx.helper.make_node("Cast", ["j"], ["y"], to=onnx.TensorProto.FLOAT)
    model = make_model(cast, total, back)
    lower_opset(model, 13)
    with pytest.raises(DarknetError, match=r"a\.onnx: not valid in opset 13: .*Add"):
        write_onnx(model, tmp_path / "a.onnx")


OFFICIAL = ["yolov3-tiny", "yolov4-tiny", "yolov3", "yolov4", "yolov4-csp", "yolov7-tiny", "yolov7"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_networks_in_older_opsets(name: str) -> None:
    path = paths.CFGS / f"{name}.cfg"
    if not path.exists():
        paths.require_shared()
        path = paths.OFFICIAL / f"{name}.cfg"
    net = darknet_py.load(path, size=(64, 64))
    for key, tensor in net.state_dict().items():
        if key.endswith("rolling_variance"):
            tensor.fill_(1)  # Darknet's initial 0 makes activations overflow
    x = TraceableNetwork(net, Heads.RAW).example_input(1).numpy()
    assert_lowered_models_agree(to_onnx(net), [x])
    assert_lowered_models_agree(to_onnx(net, heads="boxes"), [x])
