"""What training does to ``[convolutional]`` on CUDA alone: filters that are deformed copies, reverse=, excitation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from darknet_py import Trainer, cfg
from darknet_py.activations import Activation
from darknet_py.errors import ConfigError
from darknet_py.layers import Deformation, StepContext
from darknet_py.layers._excitation import excitation_factor, excite
from darknet_py.network import Network
from tests.helpers import training_references

# What CUDA's kernels give, compiled as C (golden/training/README.md).
GOLDEN = np.load(training_references.FOLDER / "deformed.npz")
DEFORMED = [name.split("_gathered")[0] for name in GOLDEN.files if name.endswith("gathered")]

NET = "[net]\nwidth=8\nheight=8\nchannels=4\nbatch=2\nmax_batches=4\nlearning_rate=0.1\nmomentum=0.9\ndecay=0.01\n"
CONV = "[conv]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n{}\n[avgpool]\n[softmax]\n"


@pytest.mark.parametrize("name", DEFORMED)
def test_kernels_are_deformed_as_by_cuda(name: str) -> None:
    kind, size, angle = name.rsplit("_", 2)
    deformation, source = Deformation(kind, int(angle)), torch.from_numpy(GOLDEN[f"source_{size}"])
    np.testing.assert_allclose(deformation.average(source), GOLDEN[f"{name}_gathered"], atol=5e-7)
    np.testing.assert_allclose(deformation.tie(source), GOLDEN[f"{name}_spread"], atol=5e-7)


def steps(keys: str, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Weights before, their gradient, weights after, for so many updates."""
    torch.manual_seed(1)
    network = Network(cfg.loads(NET + CONV.format(keys))).initialise()
    weights, seen = dict(network[0].stored())["weights"], []
    gradients: list[Tensor] = []

    def keep() -> None:
        assert weights.grad is not None
        gradients.append(weights.grad.clone())

    trainer = Trainer(network)
    trainer.before_update = keep
    for _ in range(count):
        before = weights.detach().clone()
        trainer.step([(torch.rand(2, 4, 8, 8), torch.eye(4)[:2])])
        seen.append((before, gradients[-1], weights.detach().clone()))
    return seen


def test_filters_are_tied_in_the_first_half() -> None:
    rotation = Deformation("rotate", 15)
    velocity = torch.zeros(4, 4, 3, 3)
    for number, (before, gradient, after) in enumerate(steps("rotate=1", 3), 1):
        tied = number <= 2
        velocity = 0.9 * velocity - gradient
        velocity = (rotation.average(velocity) if tied else velocity) - 0.01 * 2 * before
        expected = before + 0.1 / 2 * velocity
        assert torch.allclose(after, rotation.tie(expected) if tied else expected, atol=1e-6)
        copies = after.view(4, 4, 3, 3)
        assert torch.allclose(copies[0].rot90(-1, (1, 2)), copies[1]) == tied


def test_kernels_that_the_stages_do_not_divide_are_refused() -> None:
    network = Network(cfg.loads(NET + CONV.format("stretch_sway=1").replace("filters=4", "filters=3")))
    with pytest.raises(
        ConfigError, match=r"layer 0 \[convolutional\] stretch_sway: expected .* a multiple of 8, got 12"
    ):
        Trainer(network)


def test_reverse_steps_by_a_power() -> None:
    velocity = torch.zeros(4, 4, 3, 3)
    for before, gradient, after in steps("reverse=-0.5", 3):
        velocity = 0.9 * velocity - gradient  # decay is no part of it here
        step = velocity.sign() * (10 * velocity.abs() + 1) ** -0.5
        assert torch.allclose(after, before + 0.1 / 2 * (step - 0.01 * 2 * before), atol=1e-6)


@pytest.mark.parametrize("power", [1.0, -1.0, 0.5])
def test_powers_are_those_of_cuda(power: float) -> None:
    velocity = torch.from_numpy(GOLDEN["velocity"])
    network = Network(cfg.loads(NET.replace("decay=0.01", "decay=0") + CONV.format(f"reverse={power}")))
    trainer, weights = Trainer(network.initialise()), dict(network[0].stored())["weights"]
    with torch.no_grad():
        weights.zero_()
    weights.grad = torch.zeros_like(weights)
    weights.grad.flatten()[: len(velocity)] = -velocity
    trainer.optimizer.step(1.0, 1, 1)
    np.testing.assert_allclose(weights.detach().flatten()[: len(velocity)], GOLDEN[f"inverse_{power:g}"], rtol=1e-5)


BOXES = [
    [[0.4, 0.5, 0.3, 0.4, 1, 0], [0.9, 0.1, 0.4, 0.15, 0, 0], [0.0] * 6],
    [[0.55, 0.6, 0.05, 0.05, 0, 0], *[[0.0] * 6] * 2],
]


@pytest.mark.parametrize("kind", ["leaky", "relu", "mish", "linear"])
def test_assisted_excitation_adds_the_mean_inside_objects(kind: str) -> None:
    context = StepContext(size=(32, 24), iteration=3, max_batches=10, targets=torch.tensor(BOXES))
    before = torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(2), requires_grad=True)
    after = Activation(kind)(before)
    added = (1 + math.cos(math.pi * 0.3)) / 2 * after.detach().mean(dim=1)
    expected = after.detach().clone()
    for image, boxes in enumerate(BOXES):
        marked = set()
        for x, y, w, h, *_ in boxes:
            left, right = max(math.floor((x - w / 2) * 8), 0), min(math.ceil((x + w / 2) * 8), 8)
            top, bottom = max(math.floor((y - h / 2) * 6), 0), min(math.ceil((y + h / 2) * 6), 6)
            marked |= {(r, c) for r in range(top, bottom) for c in range(left, min(right, 7) + 1) if x}
        for row, column in marked:
            expected[image, :, row, column] += added[image, row, column]
    result = excite(before, after, Activation(kind), 1, context)
    assert torch.allclose(result, expected, atol=1e-6)
    result.sum().backward()
    assert before.grad is not None
    (slope,) = torch.autograd.grad(Activation(kind)(before).sum(), before)
    if kind in ("leaky", "relu"):  # the slope that C sees in the excited output
        slope = torch.where(expected > 0, 1.0, 0.1 if kind == "leaky" else 0.0)
    assert torch.allclose(before.grad, slope, atol=1e-6)


def test_assisted_excitation_fades() -> None:
    def at(amount: int, *iterations: int) -> list[float]:
        moments = (StepContext(size=(8, 8), iteration=i, max_batches=100, burn_in=20) for i in iterations)
        return [round(excitation_factor(amount, context), 3) for context in moments]

    assert at(1, 0, 25, 50, 51) == [1.0, 0.854, 0.5, 0.0]
    assert at(40, 19, 20, 30, 40, 41) == [0.0, 0.75, 0.5, 0.25, 0.0]
