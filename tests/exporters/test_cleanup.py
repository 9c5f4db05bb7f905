"""What is rewritten in every ONNX graph: poolings, and the names of dynamic dimensions."""

from __future__ import annotations

import pytest

from darknet_py.exporters.onnx.cleanup import clean_up
from darknet_py.exporters.onnx.model import to_onnx
from tests.helpers.export_networks import detector

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")


def test_padding_is_merged_into_poolings_and_batch_norm_is_fused() -> None:
    kinds = [node.op_type for node in to_onnx(detector()).graph.node]
    assert "Pad" not in kinds
    assert kinds.count("MaxPool") == 2
    assert "BatchNormalization" not in kinds


def test_dimensions_of_other_sizes_are_called_by_their_output() -> None:
    shapes = {"input": ["s77", 3, "16*s30", "s18"], "yolo_3": ["s77", 18, "2*s30", "(s18 - 1)//8 + 1"], "y": ["u0", 3]}
    values = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", values[:1], values[1:]))
    clean_up(model)
    assert [[dim.dim_param or dim.dim_value for dim in v.type.tensor_type.shape.dim] for v in model.graph.output] == [
        ["batch", 18, "height/8", "yolo_3_width"],
        ["y_batch", 3],
    ]
