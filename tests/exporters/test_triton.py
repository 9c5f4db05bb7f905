"""``export --triton``: the folder, and its configuration by Triton's own schema."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py import cli
from darknet_py.errors import DarknetError
from darknet_py.exporters.deepstream import export_deepstream
from darknet_py.exporters.onnx.description import OnnxDescription
from darknet_py.exporters.triton import export_triton, model_config
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from tests.helpers.export_networks import detector

onnx = pytest.importorskip("onnx", reason="export to ONNX needs onnx: pip install 'darknet-torch[export]'")
pytest.importorskip("onnxscript", reason="export to ONNX needs onnxscript: pip install 'darknet-torch[export]'")

# What Triton's documentation of model configurations asks for: names, types and shapes without the batch.
CONFIG = """\
platform: "onnxruntime_onnx"
max_batch_size: 5
input [
  {
    name: "input"
    data_type: TYPE_FP32
    dims: [ 3, 96, 64 ]
  }
]
output [
  {
    name: "boxes"
    data_type: TYPE_FP32
    dims: [ 288, 4 ]
  },
  {
    name: "scores"
    data_type: TYPE_FP32
    dims: [ 288, 4 ]
  }
]
dynamic_batching { }
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("triton")
    net = detector()
    net.names = ("a", "b", "c", "traffic light")
    darknet_py.save(net, folder / "net.pt")
    assert cli.main(["export", str(folder / "net.pt"), "--triton", str(folder / "models"), "--max-batch", "5"]) == 0
    return folder / "models"


def without_comments(text: str) -> str:
    return re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)


def test_the_folder_is_a_model_repository(repository: pathlib.Path) -> None:
    files = sorted(str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file())
    assert files == ["net/1/model.onnx", "net/config.pbtxt", "net/labels.txt"]
    assert without_comments((repository / "net" / "config.pbtxt").read_text("utf-8")) == CONFIG
    assert (repository / "net" / "labels.txt").read_text("utf-8") == "a\nb\nc\ntraffic light\n"


def test_the_file_takes_the_batches_of_the_configuration(repository: pathlib.Path) -> None:
    model = OnnxModel(repository / "net" / "1" / "model.onnx")
    for batch in (1, 5):
        outputs = model.run([np.zeros((batch, 3, 96, 64), np.float32)])
        assert [output.shape for output in outputs] == [(batch, 288, 4), (batch, 288, 4)]


# Operators of TensorRT 10.1, among them not Compress, which NMS needs:
# https://github.com/onnx/onnx-tensorrt/blob/release/10.1-GA/docs/operators.md
TENSORRT = """
Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose
Div Elu Equal Exp Expand Flatten Floor Gather GatherElements GatherND Gemm Greater GreaterOrEqual Identity
LeakyRelu Less Log MatMul Max MaxPool Min Mish Mul Neg Not Or Pad Pow Range Reciprocal ReduceMax ReduceMean
ReduceProd ReduceSum Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Slice Softmax
Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze Where Xor
"""


def test_tensorrt_has_the_operators_of_a_detector(repository: pathlib.Path) -> None:
    model = onnx.load(repository / "net" / "1" / "model.onnx")
    assert {node.op_type for node in model.graph.node} <= set(TENSORRT.split())
    assert {node.domain for node in model.graph.node} == {""}


def description(heads: str, names: str = '["a"]', classes: int = 1) -> OnnxDescription:
    """The interface of a file: detections after NMS, a classifier, a network with a state, a dynamic size."""
    interfaces: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "nms": ({"input": (None, 3, 96, 64)}, {"detections": (None, 7)}),
        "classes": ({"input": (None, 3, 96, 64)}, {"softmax_3": (None, 3)}),
        "state": ({"input": (None, 6), "state_0_0": (None, 5)}, {"gru_2": (None, 4), "next_state_0_0": (None, 5)}),
        "size": ({"input": (None, 3, None, None)}, {"boxes": (None, None, 4), "scores": (None, None, 1)}),
    }
    head = f'[{{"classes": {classes}}}]' if classes else "[]"
    metadata = {"producer": "darknet_py", "input": "RGB", "resize": "stretch", "names": names, "head_options": head}
    return OnnxDescription(*interfaces[heads], metadata)


def test_shapes_without_a_batch_have_it_in_the_configuration() -> None:
    text = model_config(description("nms"), 0)
    assert "max_batch_size: 0\n" in text
    assert re.findall(r"dims: (.*)", text) == ["[ -1, 3, 96, 64 ]", "[ -1, 7 ]"]
    assert "dynamic_batching" not in text


def test_a_classifier_names_its_labels_and_a_detector_does_not() -> None:
    labelled = model_config(description("classes", '["a", "b", "c"]', 0), 8)
    assert re.findall(r'softmax_3"\n.*\n    dims: \[ 3 \]\n    label_filename: "labels.txt"', labelled)
    assert "label_filename" not in model_config(description("classes", '["a", "b"]', 0), 8)
    assert "label_filename" not in model_config(description("size"), 8)


@pytest.mark.parametrize(
    ("heads", "batch", "inputs", "outputs"),
    [
        ("nms", 0, {"input": [-1, 3, 96, 64]}, {"detections": [-1, 7]}),
        ("classes", 8, {"input": [3, 96, 64]}, {"softmax_3": [3]}),
        ("state", 2, {"input": [6], "state_0_0": [5]}, {"gru_2": [4], "next_state_0_0": [5]}),
        ("size", 8, {"input": [3, -1, -1]}, {"boxes": [-1, 4], "scores": [-1, 1]}),
    ],
)
def test_tritons_schema_reads_the_configuration(
    heads: str, batch: int, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> None:
    reason = "needs Triton's schema: pip install 'tritonclient[grpc]'"
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason)
    text_format = pytest.importorskip("google.protobuf.text_format")
    names = '["a", "b", "c"]' if heads == "classes" else '["a"]'
    text = model_config(description(heads, names, int(heads != "classes")), batch)
    config = text_format.Parse(text, schema.ModelConfig())
    assert (config.platform, config.max_batch_size) == ("onnxruntime_onnx", batch)
    assert {each.name: list(each.dims) for each in config.input} == inputs
    assert {each.name: list(each.dims) for each in config.output} == outputs
    assert {each.data_type for each in (*config.input, *config.output)} == {schema.TYPE_FP32}
    assert config.HasField("dynamic_batching") == bool(batch)
    assert config.output[0].label_filename == ("labels.txt" if heads == "classes" else "")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a", {"max_batch": 0}, "max_batch: expected 1 or more, got 0"),
        ("a", {"max_batch": 2, "heads": "nms"}, "detections have no batch dimension: expected heads=boxes or raw"),
        ("a", {"classes": ["0"]}, "classes: heads=boxes returns the scores of all classes"),
        ("..", {}, "name: expected the name of a folder, got '..'"),
        ("a/b", {}, "name: expected the name of a folder, got 'a/b'"),
    ],
)
def test_unsupported_options_are_refused(
    name: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DarknetError, match=re.escape(message)):
        export_triton(detector(), tmp_path, name, **options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_of_names_is_not_replaced(tmp_path: pathlib.Path) -> None:
    names = tmp_path / "a" / "labels.txt"
    names.parent.mkdir()
    names.write_text("a\nb\nc\nd\n")
    with pytest.raises(DarknetError, match="would replace the input"):
        export_triton(detector(), tmp_path, "a", names=names)
    with pytest.raises(DarknetError, match="would replace the input"):
        export_deepstream(detector(), tmp_path / "a", "a", names=names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-batch", "2"], "--max-batch: expected --triton or --deepstream with it"),
        (["--triton", "models", "--int8", "--calibrate", "a"], "--triton: expected no --int8"),
        (["--triton", "models", "--format", "openvino"], "--triton: expected --format onnx, got openvino"),
        (["--deepstream", "ds", "--heads", "nms"], "--deepstream: expected --heads boxes, got nms"),
        (["--deepstream", "ds", "--dynamic", "size"], "runs one image size: expected --dynamic batch, got size"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "digits", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
