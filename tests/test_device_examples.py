"""The plug-in examples/ssd and the GAN of examples/gan give the CPU's numbers on a device, and rarely wait for it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import darknet_py as dk
from darknet_py.explanation import explain
from darknet_py.layers import Gradients
from darknet_py.network import Network
from tests.helpers import devices, paths, plugins, random_networks, simulated_device
from tests.helpers.example_scripts import load_example

EXAMPLES = paths.ROOT / "examples"
# All three sections, and the keys that change their arithmetic.
SSD = """
[net]
width=32
height=32
channels=3
batch=4
subdivisions=2
max_batches=9
learning_rate=0.01
[subtract_mean]
[conv]
filters=8
size=3
stride=8
pad=1
activation=leaky
[conv]
filters=28
activation=linear
[route]
layers=1
[scaled_l2norm]
init=2
[conv]
filters=42
stride=2
activation=linear
[multibox]
layers=2,5
classes=2
min_sizes=9,14
max_sizes=14,22
steps=8,16
boxes=4,6
clip=1
match_iou=0.3
"""
TARGETS = [  # two targets of the first image have the same favourite box, and the third image has none
    torch.tensor([[0.3, 0.4, 0.3, 0.5, 1], [0.3, 0.4, 0.31, 0.5, 0], [0.8, 0.7, 0.2, 0.2, 0]]),
    torch.tensor([[0.5, 0.5, 0.3, 0.4, 1]]),
    torch.zeros(0, 5),
    torch.tensor([[0.2, 0.3, 0.2, 0.2, 0], [0.7, 0.3, 0.4, 0.3, 1]]),
]


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    with plugins.forgotten():
        dk.load_plugin(EXAMPLES / "ssd" / "ssd.py")
        yield


@pytest.fixture
def gan() -> ModuleType:
    """The script as a module."""
    return load_example("gan/train")


def ssd(device: str) -> Network:
    network = random_networks.network(SSD)
    devices.move(network, device)
    return network


def pairs() -> list[tuple[Tensor, list[Tensor]]]:
    x = random_networks.random(4, 3, 32, 32, low=0)
    return [(x[:2], TARGETS[:2]), (x[2:], TARGETS[2:])]


def use_ssd(device: str, folder: pathlib.Path) -> list[Any]:
    network = ssd(device)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    found: list[Any] = []
    for engine in ("plain", "torch"):
        boxes = dk.Detector(network, threshold=0.3, engine=engine)([image, image[::-1].copy()])[1].boxes
        assert len(boxes) > 5
        found += [boxes.xyxy, boxes.conf]
    found += [each.cam for each in explain(network, image)]
    dk.save(network, folder / "a.weights")
    assert all(tensor.isfinite().all() for tensor in network.parameters())
    return [*found, *dk.load_weights(ssd("cpu"), folder / "a.weights").state_dict().values()]


def test_ssd_finds_the_boxes_of_the_cpu(device: str, tmp_path: pathlib.Path) -> None:
    for value, expected in zip(use_ssd(device, tmp_path), use_ssd("cpu", tmp_path), strict=True):
        torch.testing.assert_close(torch.as_tensor(value).cpu(), torch.as_tensor(expected).cpu(), rtol=1e-4, atol=1e-3)


def test_ssd_is_exported_from_a_device(device: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    found = []
    for name in ("cpu", device):
        dk.export(ssd(name), tmp_path / "ssd.onnx", heads="boxes")
        boxes = dk.Detector(tmp_path / "ssd.onnx", threshold=0.3)(np.zeros((32, 32, 3), np.uint8)).boxes
        found.append((boxes.xyxy, boxes.conf))
    assert len(found[0][0]) > 5
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("gradients", [Gradients.DARKNET, Gradients.AUTOGRAD])
def test_ssd_is_trained_as_on_the_cpu(gradients: Gradients, device: str) -> None:
    results = []
    for name in ("cpu", device):
        trainer = dk.Trainer(ssd(name), gradients=gradients)
        costs = [trainer.step(pairs()) for _ in range(3)]
        assert costs[2] < costs[0]
        results.append((costs, trainer.network))
    (costs, of_cpu), (device_costs, network) = results
    assert device_costs == pytest.approx(costs, rel=1e-3 if device == "cuda" else 1e-5)
    devices.assert_trained_alike(network, of_cpu, device)


def test_a_device_with_ssd_is_waited_for_once_in_an_iteration_and_in_a_batch() -> None:
    with simulated_device.simulated() as simulation:
        network = ssd("sim")
        detector, trainer = dk.Detector(network, threshold=0.3, batch=2), dk.Trainer(network)
        images = [np.zeros((40, 56, 3), np.uint8)] * 2
        detector(images)
        with simulation.counting():
            detector(images)
        assert simulation.synchronisations.total() == 1
        assert simulation.uploads == 0
        trainer.step(pairs())
        with simulation.counting():
            trainer.step(pairs())
        assert simulation.synchronisations == {"tolist": 1}
        assert simulation.uploads == 0


def train_gan(gan: ModuleType, device: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the script for two iterations with a classifier that is hardly trained, and return what it writes."""
    folder.mkdir()

    def build(name: str, of: str) -> Network:
        text = (EXAMPLES / "gan" / f"{name}.cfg").read_text()
        (folder / "a.cfg").write_text(
            text.replace("max_batches=400", "max_batches=2").replace("burn_in=20", "burn_in=1")
        )
        assert of == device
        network = dk.load(folder / "a.cfg")
        devices.move(network, device)
        return network

    monkeypatch.setattr(gan, "build", build)
    gan.main(["--iterations", "2", "--device", device, "-o", str(folder)])
    with Image.open(folder / "progress.png") as sheet:
        found: dict[str, Any] = {"sheet": np.asarray(sheet, np.float32) / 255}
    for name in ("generator", "discriminator"):
        found[name] = np.frombuffer((folder / f"{name}.weights").read_bytes()[20:], np.float32)
    report = json.loads((folder / "report.json").read_text())
    return found | {"confidence": report["drawn"]["confidence"], "accuracy": report["accuracy"]}


def test_the_gan_is_trained_as_on_the_cpu(
    gan: ModuleType, device: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_gan(gan, "cpu", tmp_path / "expected", monkeypatch)
    found = train_gan(gan, device, tmp_path / "found", monkeypatch)
    # Adam's first steps have the size of the learning rate whatever the gradient's, so that signs of tiny ones count.
    tolerance = 2e-3 if device == "cuda" else 1e-6
    for name, value in expected.items():
        near = max(tolerance, 1 / 255) if name == "sheet" else tolerance  # levels are rounded
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=near, err_msg=name)
