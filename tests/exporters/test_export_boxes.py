"""Heads of exported files: onnxruntime and OpenCV give the boxes of ``Detector``."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py.boxes import NMSKind, NMSOptions, RawDetections, batched_nms
from darknet_py.detector import Detector
from darknet_py.errors import DarknetError
from darknet_py.exporters.exporter import export
from darknet_py.exporters.onnx import nms_nodes
from darknet_py.exporters.traceable import TraceableNetwork
from darknet_py.exporters.verify import verify_outputs
from darknet_py.images import resizing
from darknet_py.images.reading import read_image
from darknet_py.layers import DecodeOptions, Head
from darknet_py.network import Network
from darknet_py.postprocess import Heads, decode
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from tests.helpers import opencv_versions, paths, random_networks, reference_values
from tests.helpers.export_networks import detector
from tests.helpers.layer_samples import SAMPLES, TREE_CLASSES, TREE_HEAD, Sample

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

GRAPHS = [(60, 0.2, 0.45), (60, 1.0, 0.45), (300, 0.1, 0.3), (60, 0.2, 0)]


def rows_by_image(detections: Any) -> dict[int, np.ndarray[Any, Any]]:
    """Detections [n, 7] by image, sorted."""
    images = detections[:, 0]
    return {int(k): np.array(sorted(detections[images == k].tolist()))[:, 1:] for k in np.unique(images)}


def expected(net: Network, x: Tensor) -> dict[int, np.ndarray[Any, Any]]:
    tables = {}
    for number, result in enumerate(Detector(net, threshold=0.25, nms=0.45).batch(x)):
        boxes = result.boxes
        table = torch.cat((boxes.cls[:, None].float(), boxes.conf[:, None], boxes.xywhn), dim=1)
        if len(table):
            tables[number] = np.array(sorted(table.tolist()))
    return tables


@pytest.mark.parametrize("kind", ["default", pytest.param("greedynms", marks=pytest.mark.slow)])
def test_nms_gives_the_detectors_boxes(kind: str, tmp_path: pathlib.Path) -> None:
    net = detector(kind)
    result = export(net, tmp_path / "a.onnx", heads="nms", dynamic="batch")
    assert result.relative_rms < 1e-4
    run = OnnxModel(tmp_path / "a.onnx").run
    for batch in (1, 3, 8):
        x = random_networks.random(batch, 3, 96, 64, seed=batch, low=0)
        (detections,) = run([x.numpy()])
        expected_boxes = expected(net, x)
        assert len(expected_boxes) == batch
        for number, table in rows_by_image(detections).items():
            np.testing.assert_allclose(table, expected_boxes[number], atol=2e-5)


@pytest.mark.parametrize("kind", ["default", pytest.param("greedynms", marks=pytest.mark.slow)])
def test_nms_of_some_classes_gives_their_rows(kind: str, tmp_path: pathlib.Path) -> None:
    net = detector(kind)
    x = random_networks.random(3, 3, 96, 64, seed=1, low=0).numpy()
    rows = {}
    for name, classes, skipped in (("all", None, ()), ("some", ["1", "2"], [2])):
        path = tmp_path / f"{name}.onnx"
        export(net, path, heads="nms", dynamic="batch", threshold=0.1, classes=classes, skip_classes=skipped)
        session = OnnxModel(path)
        (rows[name],) = session.run([x])
    expected_rows = rows["all"][rows["all"][:, 1] == 1]
    assert 0 < len(expected_rows) < len(rows["all"])
    np.testing.assert_array_equal(rows["some"], expected_rows)
    assert session.metadata["classes"] == "[1]"
    for wrong, heads, message in (
        ([1], "boxes", "classes: heads=boxes returns the scores of all classes: expected heads=nms"),
        (["cat"], "nms", "classes: expected class names or numbers in 0..*, got 'cat'"),
        ([], "nms", "classes: expected one class or more"),
    ):
        with pytest.raises(DarknetError, match=message):
            export(net, tmp_path / "b.onnx", heads=heads, classes=wrong)


HEADS = [sample for sample in SAMPLES if issubclass(sample.kind, Head) and "tree" not in sample.keys]
TREES = f"""
[net]
width=16
height=16
channels=3
[conv]
filters={TREE_CLASSES + 5}
size=3
pad=1
stride=2
activation=linear
[region]
{{head}}
softmax=1
""".replace("{head}", TREE_HEAD.replace(" ", "\n"))


@pytest.mark.slow
def test_the_threshold_of_a_tree_is_part_of_the_graph(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(TREES)
    for _, tensor in net[0].stored():
        tensor.data.mul_(8)  # so that scores exceed the threshold
    export(net, tmp_path / "a.onnx", heads="nms", dynamic="batch")
    x = random_networks.random(3, 3, 16, 16, low=0)
    (detections,) = OnnxModel(tmp_path / "a.onnx").run([x.numpy()])
    expected_boxes = expected(net, x)
    assert sum(map(len, expected_boxes.values())) > 5
    assert rows_by_image(detections).keys() == expected_boxes.keys()
    for number, table in rows_by_image(detections).items():
        np.testing.assert_allclose(table, expected_boxes[number], atol=1e-5)
    with pytest.raises(ValueError, match="only raw outputs can be exported"):
        net.heads[0].decode_all(net(x)[0], (16, 16))


@pytest.mark.parametrize("sample", HEADS, ids=str)
def test_decode_all_equals_decode(sample: Sample) -> None:
    head = sample.build()
    assert isinstance(head, Head)
    output = head(random_networks.random(2, *sample.inputs[0], low=0.0))
    boxes, scores = head.decode_all(output, (64, 48))
    for number, detections in enumerate(head.decode(output, (64, 48), DecodeOptions(0.05))):
        best = torch.where(scores[number] > 0.05, scores[number], 0)
        is_kept, is_decoded = (best > 0).any(dim=1), (detections.probs > 0).any(dim=1)
        assert bool(is_kept.any())
        torch.testing.assert_close(boxes[number][is_kept], detections.boxes[is_decoded])
        torch.testing.assert_close(best[is_kept], detections.probs[is_decoded])


@pytest.mark.parametrize("kind", [kind for kind in NMSKind if not kind.is_darknets])
def test_kinds_that_are_not_darknets_are_refused(kind: NMSKind, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DarknetError, match=f"heads=nms does not support nms_kind={kind}: use heads=boxes"):
        export(detector(str(kind)), tmp_path / "a.onnx", heads="nms")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("kind", [kind for kind in NMSKind if kind.is_darknets])
@pytest.mark.parametrize(("count", "threshold", "nms"), GRAPHS)
def test_the_graph_equals_batched_nms(kind: NMSKind, count: int, threshold: float, nms: float) -> None:
    options = NMSOptions(kind)
    values = [onnx.helper.make_tensor_value_info(n, 1, ["b", "n", s]) for n, s in (("boxes", 4), ("scores", "c"))]
    copies = [onnx.helper.make_node("Identity", [f"{v.name}_in"], [v.name]) for v in values]
    inputs = [onnx.helper.make_tensor_value_info(f"{v.name}_in", 1, ["b", "n", None]) for v in values]
    graph = onnx.helper.make_graph(copies, "g", inputs, values)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    nms_nodes.append_nms(model, threshold, nms, options)
    onnx.checker.check_model(model, full_check=True)
    boxes = random_networks.random(2, count, 4, low=0.2, high=0.5)
    probs = random_networks.random(2, count, 5, seed=1, low=0)
    (detections,) = OnnxModel(model.SerializeToString()).run([boxes.numpy(), probs.numpy()])
    expected_boxes = set()
    for number in range(2):
        above = torch.where(probs[number] > threshold, probs[number], 0)
        kept = RawDetections(boxes[number], probs[number, :, 0], above)
        kept = batched_nms(kept, nms, options) if nms else kept
        expected_boxes |= {(number, k, round(float(kept.probs[r, k]), 5)) for r, k in kept.probs.nonzero().tolist()}
    assert {(int(row[0]), int(row[1]), round(float(row[2]), 5)) for row in detections} == expected_boxes
    assert len(expected_boxes) == len(detections)
    assert bool(expected_boxes) == (threshold < 1)


IN_OPENCV = """
import cv2, numpy
net = cv2.dnn.readNetFromONNX(sys.argv[1])
net.setInput(numpy.load(sys.argv[2]))
numpy.savez(sys.argv[3], *net.forward(sys.argv[4:]))
"""


@pytest.mark.parametrize("major", [4, 5])
@pytest.mark.parametrize(
    "name",
    ["", *(pytest.param(n, marks=pytest.mark.slow) for n in ("yolov4-tiny", "yolov7-tiny", "yolov3", "yolov4"))],
)
def test_opencv_reads_raw_heads(name: str, major: int, tmp_path: pathlib.Path) -> None:
    opencv_folder = opencv_versions.find_folder(major)
    net = detector()
    if name:
        paths.require_shared()
        values = reference_values.load(paths.OFFICIAL / f"{name}.json.gz")
        reference_values.write_weights(values, tmp_path / "a.weights")
        net = darknet_py.load(paths.OFFICIAL / f"{name}.cfg", tmp_path / "a.weights", size=(224, 160))
    export(net, tmp_path / "a.onnx", dynamic="batch")
    x = random_networks.random(1, *net.shape, low=0)
    np.save(tmp_path / "x.npy", x.numpy())
    outputs = TraceableNetwork(net, Heads.RAW).output_names
    opencv_versions.run(
        opencv_folder, IN_OPENCV, str(tmp_path / "a.onnx"), str(tmp_path / "x.npy"), str(tmp_path / "y.npz"), *outputs
    )
    with np.load(tmp_path / "y.npz") as file:
        maps = [torch.from_numpy(file[f"arr_{number}"]) for number in range(len(outputs))]
    # A threshold midway between two scores, so that rounding moves no score across it.
    best = TraceableNetwork(net, Heads.BOXES)(x)[1].flatten().topk(101).values
    options, size = DecodeOptions(float(best[99:].mean())), (net.shape.width, net.shape.height)
    preds, expected_preds = decode(net, maps, size, options), decode(net, net(x), size, options)
    assert len(expected_preds[0].boxes) > 10
    for a, b in zip(preds, expected_preds, strict=True):
        torch.testing.assert_close(a.boxes, b.boxes, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(a.probs, b.probs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_exported_official_weights_give_the_boxes_of_the_detector(
    yolov4_tiny_weights: pathlib.Path, shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    net = darknet_py.load(paths.CFGS / "yolov4-tiny.cfg", yolov4_tiny_weights)
    images = [*(shared / "data" / "photographs").glob("*.jpg"), *sorted((shared / "data" / "coco128").rglob("*.jpg"))]
    x = torch.stack([resizing.prepare_input(read_image(path), (416, 416)) for path in images[:8]])
    export(net, tmp_path / "raw.onnx", dynamic="batch")
    export(net, tmp_path / "nms.onnx", heads="nms", dynamic="batch")
    raw, nms = (OnnxModel(tmp_path / f"{name}.onnx").run for name in ("raw", "nms"))
    for batch in (1, 3, 8):
        part = x[-batch:]
        with torch.inference_mode():
            maps = net(part)
        for y, output in zip(maps, map(torch.from_numpy, raw([part.numpy()])), strict=True):
            assert float((y - output).square().mean().sqrt() / y.square().mean().sqrt()) < 1e-4
        (detections,) = nms([part.numpy()])
        expected_boxes = expected(net, part)
        assert sum(map(len, expected_boxes.values())) > batch
        assert rows_by_image(detections).keys() == expected_boxes.keys()
        for number, table in rows_by_image(detections).items():
            np.testing.assert_allclose(table, expected_boxes[number], atol=1e-4)


def well_trained() -> Network:
    """A detector that finds nothing in noise: class biases of -20."""
    net = detector()
    for index in (2, 7):  # the convolutions before the heads
        biases = net[index].get_parameter("biases").data
        biases.view(-1, 9)[:, 5:] = -20.0
    return net


@pytest.mark.parametrize("heads", ["boxes", "nms"])
def test_a_detector_that_finds_nothing_is_verified(heads: str, tmp_path: pathlib.Path) -> None:
    net = well_trained()
    assert TraceableNetwork(net, Heads.BOXES)(torch.rand(1, *net.shape))[1].max() < 1e-3
    assert export(net, tmp_path / "a.onnx", heads=heads).relative_rms < 1e-4


@pytest.mark.parametrize("output", ["boxes", "scores"])
def test_other_boxes_and_scores_are_a_difference(output: str) -> None:
    module = TraceableNetwork(well_trained(), Heads.BOXES)

    def run(arrays: list[Any]) -> list[Any]:
        boxes, scores = (y.numpy().copy() for y in module(torch.from_numpy(arrays[0])))
        best = scores.max(axis=2).argmax()
        if output == "boxes":
            boxes[0, best] += 0.1
        else:
            scores[0, best] += 0.1
        return [boxes, scores]

    with pytest.raises(DarknetError, match="outputs differ from PyTorch"):
        verify_outputs(module.network, run, Heads.BOXES)


def test_the_example_input_resembles_an_image() -> None:
    x = TraceableNetwork(detector(), Heads.RAW).example_input(2)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert float(x.std()) > 0.1
    neighbours = torch.corrcoef(torch.stack((x[..., 1:].flatten(), x[..., :-1].flatten())))[0, 1]
    assert 0.8 < float(neighbours) < 0.99
