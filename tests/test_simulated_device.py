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
from darknet_py.classifier import Classifier
from darknet_py.devices import find_device
from darknet_py.images.reading import ImageArray
from darknet_py.inference.fused_network import optimise
from darknet_py.layers import Shape
from darknet_py.tiling import TiledDetector
from tests.helpers import devices, export_networks, random_networks, simulated_device
from tests.helpers.layer_samples import SAMPLES, Sample

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


@pytest.fixture
def image() -> ImageArray:
    return np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)


@pytest.mark.parametrize("engine", ["plain", "torch"])
@pytest.mark.parametrize("kind", NMSKind)
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
    devices.move(net, device)
    detector = darknet_py.Detector(net)
    for result in (detector(image), TiledDetector(detector, overlap=0.2)(image)):
        assert len(result.boxes) > 5
        assert len(result[:2].boxes) == 2
        assert result.to_json()
        assert result.to_text()
        result.save(str(tmp_path / "a.png"))
        assert (tmp_path / "a.png").stat().st_size
        assert len(result.numpy().boxes.conf) == len(result.boxes)


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
    darknet_py.save(net, tmp_path / "a.pt")
    assert next(darknet_py.load(tmp_path / "a.pt").parameters()).device.type == "cpu"
    darknet_py.load_weights(net, tmp_path / "cpu.weights")
    assert next(net.parameters()).device.type == device


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
