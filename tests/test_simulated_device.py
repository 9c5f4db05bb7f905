"""Inference on a device gives the CPU's numbers, and never mixes tensors of both; on a simulated one without a GPU."""

from __future__ import annotations

import copy
import pathlib

import numpy as np
import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py.boxes import NMSKind, NMSOptions, RawDetections, batched_nms
from darknet_py.cfg import Dialect
from darknet_py.classifier import Classifier
from darknet_py.devices import find_device
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.images.reading import ImageArray
from darknet_py.inference.fused_network import optimise
from darknet_py.layers import Layer, Shape, StepContext
from darknet_py.tiling import TiledDetector
from tests.helpers import devices, export_networks, noise_dataset, random_networks, simulated_device
from tests.helpers.layer_samples import SAMPLES, TREE, TREE_CLASSES, Sample

CLASSIFIER = """
[net]
width=8
height=8
channels=3
[conv]
filters=5
size=3
batch_normalize=1
[avgpool]
[softmax]
"""


def inputs(sample: Sample) -> list[Tensor]:
    return [random_networks.random(2, *shape, seed=seed) for seed, shape in enumerate(map(Shape._make, sample.inputs))]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_layer(sample: Sample, device: str) -> None:
    layer = sample.build()
    moved = copy.deepcopy(layer)
    devices.move(moved, device)
    with torch.no_grad():
        expected = layer(*inputs(sample))
        y = moved(*(x.to(device) for x in inputs(sample)))
    assert y.device.type == device
    devices.assert_same(y, expected, device)


def differentiate(layer: Layer, sample: Sample, device: str) -> list[Tensor]:
    """Output and gradients of a layer in training."""
    devices.move(layer.train(), device)
    torch.manual_seed(0)
    xs = [x.to(device).requires_grad_() for x in inputs(sample)]
    context = {"context": StepContext(size=(32, 32), max_batches=9)} if layer.uses_context else {}
    y = layer(*xs, **context)
    if not y.requires_grad:
        return [y]
    y.backward(random_networks.random(*y.shape, seed=9).to(device))
    parameters = [p for p in layer.parameters() if p.requires_grad]
    return [y.detach(), *(leaf.grad for leaf in (*xs, *parameters) if leaf.grad is not None)]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@devices.on_accelerators
def test_gradients_of_every_layer(sample: Sample, device: str) -> None:
    if device == "cuda" and "drop" in sample.name:
        pytest.skip("CUDA draws other random numbers")
    expected = differentiate(sample.build(), sample, "cpu")
    for value, of_cpu in zip(differentiate(sample.build(), sample, device), expected, strict=True):
        assert value.device.type == device
        torch.testing.assert_close(value.cpu(), of_cpu, rtol=1e-4, atol=1e-5)


@pytest.fixture
def image() -> ImageArray:
    return np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)


@pytest.mark.parametrize("engine", ["plain", "torch"])
@pytest.mark.parametrize("kind", [kind for kind in NMSKind if kind.is_darknets])
def test_detectors_give_the_boxes_of_the_cpu(kind: NMSKind, engine: str, device: str, image: ImageArray) -> None:
    net = export_networks.detector(str(kind))
    moved = copy.deepcopy(net)
    devices.move(moved, device)
    for letterbox in (False, True):
        expected, result = (
            darknet_py.Detector(one, engine=name, letterbox=letterbox, batch=2)([image, image[::-1].copy()])[1]
            for one, name in ((net, "plain"), (moved, engine))
        )
        assert len(expected.boxes) > 5
        assert result.boxes.conf.device.type == "cpu"
        torch.testing.assert_close(result.cpu().boxes.xyxy, expected.boxes.xyxy, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(result.cpu().boxes.conf, expected.boxes.conf, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", NMSKind)
def test_nms(kind: NMSKind, device: str) -> None:
    boxes = random_networks.random(400, 4, low=0.0) * torch.tensor([1.0, 1.0, 0.3, 0.3])
    probs = random_networks.random(400, 3, seed=1, low=-1.0).clamp(min=0)
    detections = RawDetections(boxes, probs.amax(dim=1), probs)
    expected = batched_nms(detections, 0.3, NMSOptions(kind))
    moved = batched_nms(RawDetections(*(part.to(device) for part in detections)), 0.3, NMSOptions(kind))
    assert moved.probs.device.type == device
    assert torch.equal(moved.probs.cpu(), expected.probs)


def test_results_and_tiles(device: str, image: ImageArray, tmp_path: pathlib.Path) -> None:
    net = export_networks.detector()
    expected = TiledDetector(darknet_py.Detector(net), overlap=0.2)(image)
    devices.move(net, device)
    detector = darknet_py.Detector(net)
    tiled = TiledDetector(detector, overlap=0.2)(image)
    torch.testing.assert_close(tiled.boxes.xyxy, expected.boxes.xyxy, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(tiled.boxes.conf, expected.boxes.conf, rtol=1e-4, atol=1e-4)
    for result in (detector(image), tiled):
        assert len(result.boxes) > 5
        assert len(result[:2].boxes) == 2
        assert result.to_json()
        assert result.to_text()
        result.save(str(tmp_path / "a.png"))
        assert (tmp_path / "a.png").stat().st_size
        assert len(result.numpy().boxes.conf) == len(result.boxes)


def test_results_are_those_of_the_cpu(device: str, image: ImageArray) -> None:
    net = export_networks.detector()
    expected = darknet_py.Detector(net, engine="plain")(image)
    devices.move(net, device)
    result = darknet_py.Detector(net, engine="plain")(image)
    formats = ("to_text", "to_txt", "summary", "to_json", "to_darknet_json")
    for method in formats:
        assert getattr(result, method)() == getattr(expected, method)(), method
    assert result.clip().boxes.xyxy.tolist() == expected.clip().boxes.xyxy.tolist()
    assert len(result.crops()) == len(expected.crops())
    assert [str(row) for row in result] == [str(row) for row in expected]
    assert result.to(device).boxes.conf.device.type == device
    assert result.to(device).cpu().to_json() == expected.to_json()
    assert result.to(device).to_json() == expected.to_json()


OLD_HEADS = {
    "region with a class tree": f"[region]\nclasses={TREE_CLASSES}\nanchors=1,2\ncoords=4\nsoftmax=1\ntree={TREE}\n",
    "region": f"[region]\nclasses={TREE_CLASSES}\nanchors=1,2\ncoords=4\nsoftmax=1\n",
}


@pytest.mark.parametrize("head", OLD_HEADS)
@pytest.mark.parametrize("dialect", Dialect)
def test_detectors_with_a_class_tree(head: str, dialect: Dialect, device: str, image: ImageArray) -> None:
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters={}\nsize=3\nstride=8\nactivation=linear\n"
    net = random_networks.network(text.format(TREE_CLASSES + 5) + OLD_HEADS[head], dialect=dialect)
    expected = darknet_py.Detector(net, threshold=0.003)(image)
    devices.move(net, device)
    result = darknet_py.Detector(net, threshold=0.003)(image)
    assert len(result.boxes) == len(expected.boxes) > 0
    torch.testing.assert_close(result.boxes.xyxy, expected.boxes.xyxy, rtol=1e-4, atol=1e-3)


def test_more_boxes_than_fit_into_one_copy(monkeypatch: pytest.MonkeyPatch, image: ImageArray) -> None:
    monkeypatch.setattr("darknet_py.layers.heads._host_copy._ROWS_PER_IMAGE", 3)
    net = export_networks.detector()
    expected = darknet_py.Detector(net, batch=2)([image, image])
    with simulated_device.simulated() as simulation:
        simulated_device.to_device(net)
        detector = darknet_py.Detector(net, batch=2)
        detector([image, image])
        with simulation.counting():
            results = detector([image, image])
        assert simulation.synchronisations.total() == 2
        for result, other in zip(results, expected, strict=True):
            torch.testing.assert_close(result.boxes.xyxy, other.boxes.xyxy)


def test_a_classifier_with_a_class_tree(device: str, image: ImageArray) -> None:
    text = CLASSIFIER.replace("filters=5", f"filters={TREE_CLASSES}").replace("[softmax]", f"[softmax]\ntree={TREE}")
    net = random_networks.network(text)
    expected = Classifier(net)(image).probs
    devices.move(net, device)
    classifier = Classifier(net)
    for _ in range(2):  # the network's tree stays on its device
        torch.testing.assert_close(classifier(image).probs, expected)


def test_evaluation(device: str, tmp_path: pathlib.Path) -> None:
    net = noise_dataset.detector(tmp_path)
    data = noise_dataset.images(tmp_path) / "my.data"
    expected = evaluate(net, data, progress=False, match_iou=0.3)
    devices.move(net, device)
    assert evaluate(net, data, progress=False, match_iou=0.3).map50 == pytest.approx(expected.map50)


def test_classifiers(device: str, image: ImageArray) -> None:
    net = random_networks.network(CLASSIFIER)
    expected = Classifier(net)(image).probs
    devices.move(net, device)
    torch.testing.assert_close(Classifier(net)(image).probs, expected)


def test_networks_are_saved_and_exported(device: str, tmp_path: pathlib.Path) -> None:
    net = export_networks.detector()
    darknet_py.save(net, tmp_path / "cpu.weights")
    devices.move(net, device)
    darknet_py.save(net, tmp_path / "device.weights")
    assert (tmp_path / "device.weights").read_bytes() == (tmp_path / "cpu.weights").read_bytes()
    for suffix in (".pt", ".safetensors"):
        darknet_py.save(net, tmp_path / f"a{suffix}")
        loaded = darknet_py.load(tmp_path / f"a{suffix}")
        assert next(loaded.parameters()).device.type == "cpu"
        darknet_py.save(loaded, tmp_path / "again.weights")
        assert (tmp_path / "again.weights").read_bytes() == (tmp_path / "cpu.weights").read_bytes()
    darknet_py.load_weights(net, tmp_path / "cpu.weights")
    assert next(net.parameters()).device.type == device
    darknet_py.export(net, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").stat().st_size


def test_a_device_without_float64_runs_fused_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    net = export_networks.detector()
    x = random_networks.random(2, *net.shape, low=0)
    with torch.no_grad():
        expected = optimise(net)(x)
    with simulated_device.simulated(float64=False):
        assert find_device("sim").type == "sim"
        simulated_device.to_device(net)
        with pytest.raises(TypeError, match="does not support float64"):
            next(net.parameters()).double()
        with pytest.raises(TypeError, match="does not support float64"):
            optimise(net)
        monkeypatch.setattr("darknet_py.devices._WITHOUT_FLOAT64", frozenset({"sim"}))
        for a, b in zip(optimise(net)(x.to("sim")), expected, strict=True):
            torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-4)


def test_the_device_refuses_what_cuda_refuses() -> None:
    with simulated_device.simulated() as simulation:
        x = torch.ones(3, device="sim")
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            x + torch.ones(3)
        with pytest.raises(TypeError, match="to numpy"):
            x.numpy()
        assert float((x + torch.tensor(1.0)).sum()) == 6
        assert sum(simulation.synchronisations.values()) == 1
