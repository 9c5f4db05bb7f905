"""ONNX files of other programs are compared, or refused in one line that says what was expected."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import pytest

from darknet_py.compare.report import compare_models
from darknet_py.errors import DarknetError

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")

FLOAT = onnx.TensorProto.FLOAT
Shape = list[Any]


def write(
    path: pathlib.Path,
    *,
    x: Shape | None,
    outputs: dict[str, Shape],
    sequence: bool = False,
    dtype: int = FLOAT,
    metadata: dict[str, str] | None = None,
) -> str:
    """Write a model whose outputs of the given shapes hold zeros and depend on no weights."""
    helper = onnx.helper
    inputs = [] if x is None else [helper.make_tensor_value_info("images", dtype, x)]
    nodes, values = [], []
    for name, shape in outputs.items():
        zeros = helper.make_tensor("zeros", FLOAT, shape, [0.0] * math.prod(shape))
        nodes.append(helper.make_node("Constant", [], [f"{name}_zeros"], value=zeros))
        if sequence:
            nodes.append(helper.make_node("SequenceConstruct", [f"{name}_zeros"], [name]))
            values.append(helper.make_tensor_sequence_value_info(name, FLOAT, shape))
        else:
            nodes.append(helper.make_node("Identity", [f"{name}_zeros"], [name]))
            values.append(helper.make_tensor_value_info(name, FLOAT, shape))
    graph = helper.make_graph(nodes, "foreign", inputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return str(path)


IMAGE: Shape = [1, 3, 64, 64]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({"x": None, "outputs": {"y": [1, 5]}}, r"inputs none: expected floats \[batch, channels, "),
    "bytes": (
        {"x": IMAGE, "outputs": {"y": [1, 5]}, "dtype": onnx.TensorProto.UINT8},
        r"images tensor\(uint8\) \[1, 3, 64, 64\]: expected floats",
    ),
    "text": ({"x": [1, 1], "outputs": {"y": [1, 5]}, "dtype": onnx.TensorProto.STRING}, r"tensor\(string\)"),
    "channels last": ({"x": [1, 64, 64, 3], "outputs": {"y": [1, 5]}}, "channels last"),
    "three dimensions": ({"x": [3, 64, 64], "outputs": {"y": [1, 5]}}, r"\[3, 64, 64\]: expected floats"),
    "batch of four": ({"x": [4, 3, 64, 64], "outputs": {"y": [4, 5]}}, "ONNX Runtime: .*invalid dimensions"),
    "sequence": ({"x": IMAGE, "outputs": {"y": [1, 5]}, "sequence": True}, "output y is not an array of numbers"),
    "scalar": ({"x": IMAGE, "outputs": {"y": []}}, "output y is not an array of numbers"),
    "detections": (
        {"x": IMAGE, "outputs": {"detections": [1, 100, 6]}},
        r"output detections has the shape \(1, 100, 6\): expected \[n, 7\]",
    ),
    "boxes": ({"x": IMAGE, "outputs": {"boxes": [100, 4], "scores": [100]}}, r"boxes .* expected \[1, n, 4\]"),
    "scores": (
        {"x": IMAGE, "outputs": {"boxes": [1, 100, 4], "scores": [1, 80, 100]}},
        r"scores .*\(1, 80, 100\): expected \[1, 100, classes\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_cannot_be_compared_are_refused_in_one_line(case: str, tmp_path: pathlib.Path) -> None:
    options, message = REFUSED[case]
    path = write(tmp_path / "a.onnx", **options)
    with pytest.raises(DarknetError, match=message) as caught:
        compare_models(path, path, size=(64, 64))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text\nin two lines", b"\x08\x0a\xff\xff"])
def test_files_that_are_no_models_are_refused_in_one_line(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(DarknetError, match="ONNX Runtime cannot load it") as caught:
        compare_models(str(path), str(path))
    assert "\n" not in str(caught.value)


def test_metadata_of_other_programs_is_ignored(tmp_path: pathlib.Path) -> None:
    metadata = {"producer": "other", "dialect": "french", "head_options": "{"}
    outputs: dict[str, Shape] = {"boxes": [1, 9, 4], "scores": [1, 9, 2]}
    path = write(tmp_path / "a.onnx", x=IMAGE, outputs=outputs, metadata=metadata)
    assert compare_models(path, path).is_same


@pytest.mark.parametrize(
    "entry",
    [{"dialect": "french"}, {"head_options": "{"}, {"head_options": '[{"nms_kind": "x"}]'}, {"dialect": "\xa1"}],
)
def test_broken_metadata_are_refused(entry: dict[str, str], tmp_path: pathlib.Path) -> None:
    outputs: dict[str, Shape] = {"boxes": [1, 9, 4], "scores": [1, 9, 2]}
    metadata = {"producer": "darknet_py 1", **entry}
    path = pathlib.Path(write(tmp_path / "a.onnx", x=IMAGE, outputs=outputs, metadata=metadata))
    path.write_bytes(path.read_bytes().replace("\xa1".encode(), b"\xa1\xa1"))  # not UTF-8
    with pytest.raises(DarknetError, match=r"a\.onnx: invalid metadata"):
        compare_models(str(path), str(path))
