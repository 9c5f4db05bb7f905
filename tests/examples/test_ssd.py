"""The plug-in examples/ssd: values of torchvision's SSD300 (tools/make_ssd_golden.py), and a training."""

from __future__ import annotations

import math
import pathlib
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import darknet_py as dk
from darknet_py import cfg, cli
from darknet_py.cfg.editing import replace_values
from darknet_py.explanation import explain
from darknet_py.layers import DecodeOptions, Gradients, StepContext, pad_targets
from darknet_py.network import Network
from darknet_py.training.engine import ForwardBackward
from tests.helpers import plugins
from tests.helpers.example_scripts import load_example
from tests.helpers.random_networks import randomise
from tools.make_ssd_golden import BOXES, CLASSES, EVERY, TARGETS, fill, inputs

ROOT = pathlib.Path(__file__).resolve().parents[2]
SSD = ROOT / "examples" / "ssd"
SIZE = (300, 300)


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    with plugins.forgotten():
        dk.load_plugin(SSD / "ssd.py")
        yield


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(ROOT / "tests" / "golden" / "ssd.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def multibox() -> Any:
    """The head of torchvision's sizes; maps are made by ``maps_of``."""
    return head_of("ssd300-torchvision.cfg")


def head_of(name: str) -> Any:
    network = Network(cfg.load(SSD / name))
    return network.heads[0]


def maps_of(head: Any, offsets: Tensor, scores: Tensor) -> list[Tensor]:
    """The maps that have these values, as the convolutions before the head compute them."""
    maps, start = [], 0
    for side, boxes in zip((38, 19, 10, 5, 3, 1), head.options.boxes, strict=True):
        rows = torch.cat((offsets, scores), dim=2)[:, start : start + side * side * boxes]
        maps.append(rows.unflatten(1, (side, side, boxes)).permute(0, 3, 4, 1, 2).flatten(1, 2))
        start += side * side * boxes
    assert start == BOXES
    return maps


def targets() -> Tensor:
    """``TARGETS`` as the package has them."""
    rows = [torch.tensor(one, dtype=torch.float32).reshape(-1, 5) for one in TARGETS]
    return pad_targets([torch.cat((centres(row[:, :4]) / 300, row[:, 4:]), dim=1) for row in rows])


def centres(corners: Tensor) -> Tensor:
    return torch.cat(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), dim=1)


def test_the_default_boxes_are_torchvisions(multibox: Any, golden: dict[str, Tensor]) -> None:
    _, offsets, scores = inputs()
    maps = maps_of(multibox, offsets[:1], scores[:1])
    actual = multibox.split(multibox(*maps), SIZE)
    assert torch.equal(actual[0], offsets[:1])
    assert torch.equal(actual[1], scores[:1])
    torch.testing.assert_close(actual[2], golden["default_boxes"], rtol=0, atol=1e-6)


def test_the_original_boxes_are_those_of_the_paper() -> None:
    head = head_of("ssd300.cfg")
    assert head.shape.height == 8732
    first = [(30, 30), (math.sqrt(30 * 60),) * 2, (30 * math.sqrt(2), 30 / math.sqrt(2))]
    assert head.sizes(0)[:3] == pytest.approx([pytest.approx(size) for size in first])
    assert [len(head.sizes(number)) for number in range(6)] == [4, 6, 6, 6, 4, 4]
    largest = head.default_boxes(5, torch.zeros(1, 1, 1, 1))
    expected = [150, 150, math.sqrt(264 * 315), math.sqrt(264 * 315)]
    assert largest[1].tolist() == pytest.approx(expected)
    assert float(largest[:, 2:].max()) > 300  # not clipped


def test_decoded_boxes_are_torchvisions(multibox: Any, golden: dict[str, Tensor]) -> None:
    _, offsets, scores = inputs()
    output = multibox(*maps_of(multibox, offsets[:1], scores[:1]))
    boxes, probs = multibox.decode_all(output, SIZE)
    torch.testing.assert_close(boxes[0, ::EVERY], centres(golden["decoded"]) / 300, rtol=0, atol=1e-5)
    torch.testing.assert_close(probs[0], scores[0].softmax(dim=1)[:, 1:])
    (found,) = multibox.decode(output, SIZE, DecodeOptions(0.5))
    rows = (probs[0] > 0.5).any(dim=1)
    assert torch.equal(found.boxes, boxes[0, rows])
    assert torch.equal(found.probs, torch.where(probs[0, rows] > 0.5, probs[0, rows], 0))


def test_matches_loss_and_gradient_are_torchvisions(multibox: Any, golden: dict[str, Tensor]) -> None:
    _, offsets, scores = (x.requires_grad_() for x in inputs())
    output = multibox(*maps_of(multibox, offsets, scores))
    loss = multibox.loss(output, output, targets(), StepContext(size=SIZE))
    actual = torch.stack((loss.parts["boxes"], loss.parts["classes"]))
    torch.testing.assert_close(actual, golden["losses"], rtol=1e-5, atol=0)
    assert float(loss.cost) == pytest.approx(len(TARGETS) * float(golden["losses"].sum()), rel=1e-5)
    matched = multibox.match(targets(), multibox.split(output, SIZE)[2])
    classes = [torch.tensor([row[4] for row in one] + [-1]) + 1 for one in TARGETS]  # -1 is no target
    expected = torch.stack([one[number.long()] for one, number in zip(classes, golden["matched"], strict=True)])
    assert torch.equal(matched.classes, expected)
    gradient = torch.cat(torch.autograd.grad(loss.value, (offsets, scores)), dim=2) / len(TARGETS)
    rows = gradient.abs().sum(dim=2).nonzero()
    assert torch.equal(rows, golden["gradient_rows"].long())
    torch.testing.assert_close(gradient[tuple(rows.t())], golden["gradient"], rtol=1e-4, atol=1e-7)


def converter() -> ModuleType:
    return load_example("ssd/convert_torchvision")


def torchvision_state(convert: ModuleType) -> dict[str, Tensor]:
    """A state dict with torchvision's names and shapes, and the values of the golden file."""
    network = Network(cfg.load(convert.CFG))
    convolutions = [dict(layer.stored()) for layer in network if any(name == "weights" for name, _ in layer.stored())]
    state: dict[str, Tensor] = {convert.SCALES: torch.empty(512)}
    for name, arrays in zip(convert.CONVOLUTIONS, convolutions, strict=False):
        state |= {
            f"{name}.weight": torch.empty_like(arrays["weights"]),
            f"{name}.bias": torch.empty_like(arrays["biases"]),
        }
    for number, (boxes, arrays) in enumerate(zip(network.heads[0].options.boxes, convolutions[-6:], strict=True)):  # type: ignore[attr-defined]
        for name, entries in zip(convert.HEADS, (4, 1 + CLASSES), strict=True):
            shape = (boxes * entries, *arrays["weights"].shape[1:])
            state |= {f"{name}.{number}.weight": torch.empty(shape), f"{name}.{number}.bias": torch.empty(shape[0])}
    with torch.no_grad():
        fill(state)
    return state


def test_the_network_with_torchvisions_weights_gives_its_outputs(
    golden: dict[str, Tensor], tmp_path: pathlib.Path
) -> None:
    convert = converter()
    network = convert.convert(torchvision_state(convert))
    (output,) = network.predict(inputs()[0])
    offsets, scores, _ = network.heads[0].split(output, SIZE)
    for actual, name, rms in zip((offsets, scores), ("offsets", "scores"), golden["rms"], strict=True):
        assert float((actual[0, ::EVERY] - golden[name]).abs().max() / rms) < 1e-4, name
    fused = dk.optimise(network)(inputs()[0])[0]
    assert float((fused - output).abs().max() / output[:, :-4].square().mean().sqrt()) < 1e-3


def test_a_network_with_other_classes_is_converted() -> None:
    convert = converter()
    text = convert.cfg_text(90)
    head = Network(cfg.loads(text)).heads[0]
    assert (head.classes, head.shape.channels) == (90, 99)
    assert "# SSD300 on VGG-16" in text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", "8,16", "steps: expected 6 values, one per map, got 2"),
        ("boxes", "4,6,6,6,4,8", "boxes: expected 2 and two for each of aspect_ratios, at most, got 8"),
        ("classes", "3", r"a map has 100 filters, expected 32: 4 boxes \* \(classes=3 \+ 5\)"),
    ],
)
def test_wrong_keys_are_named(key: str, value: str, message: str) -> None:
    config = cfg.load(SSD / "ssd300.cfg")
    with pytest.raises(dk.ConfigError, match=message):
        Network(cfg.loads(replace_values(config, {43: {key: value}})))


@pytest.mark.parametrize("gradients", [Gradients.DARKNET, Gradients.AUTOGRAD])
def test_the_loss_of_all_maps_is_trained_with_its_derivative(gradients: Gradients) -> None:
    network = Network(cfg.load(SSD / "ssd-digits.cfg"), size=(64, 64)).initialise()
    x, boxes = torch.rand(2, 3, 64, 64), [torch.tensor([[0.5, 0.5, 0.3, 0.4, 3]]), torch.zeros(0, 5)]
    engine = ForwardBackward(network, gradients, freeze=0, amp=None, rng=random.Random(0))
    with engine.training(0):
        (result,) = engine.run(x, boxes, StepContext(size=(64, 64), gradients=gradients))
        filters = [network[source].get_parameter("weights") for source in network.sources[-1]]
        found = [p.grad.clone() for p in filters if p.grad is not None]
        network.zero_grad()
        outputs = network(x, StepContext(size=(64, 64), gradients=Gradients.AUTOGRAD))
        value = network.heads[0].loss(outputs[0], outputs[0], pad_targets(boxes), StepContext(size=(64, 64))).value
        expected = torch.autograd.grad(value, filters)
    assert len(found) == len(filters) > 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert float(result.loss.cost) == pytest.approx(float(value.detach()), rel=1e-4)


def test_explanations_and_onnx_know_heads_of_several_maps(tmp_path: pathlib.Path) -> None:
    network = randomise(Network(cfg.load(SSD / "ssd-digits.cfg")))
    image = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    (explained,) = explain(network, image)
    assert explained.confidence.shape == explained.cam.shape == (60, 80)
    assert float(explained.confidence.max()) == pytest.approx(explained.score, rel=0.2)
    assert float(explained.cam.max()) > 0
    dk.export(network, tmp_path / "ssd.onnx", heads="boxes", dynamic="batch")  # compares its boxes with the network's


@pytest.mark.slow
def test_training_on_digits(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = ["--plugin", str(SSD / "ssd.py")]
    assert cli.main(["digits", str(tmp_path / "set")]) == 0
    data, out = str(tmp_path / "set" / "digits.data"), tmp_path / "run"
    line = ["train", data, str(SSD / "ssd-digits.cfg"), "-o", str(out), "--no-map", "--quiet"]
    assert cli.main([*line, *plugin]) == 0
    weights = str(out / "ssd-digits_final.weights")
    capsys.readouterr()
    result = dk.evaluate(dk.load(SSD / "ssd-digits.cfg", weights), data, progress=False)
    assert result.map50 > 0.7
    path = tmp_path / "ssd.onnx"
    assert cli.main(["export", str(SSD / "ssd-digits.cfg"), weights, "-o", str(path), "--heads", "boxes", *plugin]) == 0
    image = str(tmp_path / "set" / "valid" / "00000.png")
    assert cli.main(["detect", str(SSD / "ssd-digits.cfg"), weights, image, *plugin]) == 0
    assert "detection" in capsys.readouterr().out
