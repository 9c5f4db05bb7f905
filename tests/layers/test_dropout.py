"""``[dropout]`` in training; DropBlock's blocks grow until 85 % of ``max_batches`` (``dropblock_fast_kernel``)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from darknet_py import Trainer, cfg
from darknet_py.layers import Shape, StepContext
from darknet_py.network import Network
from tests.helpers import random_networks

CFG = """[net]
width=12
height={height}
channels=3
batch=4
learning_rate=0
max_batches=100
[convolutional]
filters=100
size=1
activation=linear
[dropout]
{}
[avgpool]
[softmax]
"""


def dropout_output(keys: str, iteration: int, height: int = 12) -> Tensor:
    """Return the layer's output for ones, [4, 100, height, 12], after ``iteration`` updates."""
    network = Network(cfg.loads(CFG.format(keys, height=height)))
    with torch.no_grad():
        for name, tensor in network[0].stored():
            tensor.fill_(1.0 if name == "biases" else 0.0)
    outputs: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output.detach())

    network[1].register_forward_hook(keep)
    trainer = Trainer(network)
    trainer.iteration = iteration
    torch.manual_seed(iteration)
    trainer.step([(torch.rand(4, 3, height, 12), torch.eye(100)[:4])])
    return outputs[0]


def test_kept_values_are_scaled_up() -> None:
    y = dropout_output("probability=.25", 0)
    assert float((y == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(y[y != 0], torch.full_like(y[y != 0], 1 / 0.75))


@pytest.mark.parametrize(
    ("size", "iteration", "side"),
    [
        *(
            ("dropblock_size_abs=6", iteration, side)
            for iteration, side in ((20, 1), (43, 3), (80, 5), (85, 6), (99, 6))
        ),
        *(("dropblock_size_rel=.5", iteration, side) for iteration, side in ((43, 3), (80, 5), (85, 6))),
        ("dropblock_size_abs=40", 90, 12),  # no larger than the map
        ("dropblock_size_rel=.1 dropblock_size_abs=4", 90, 4),  # both: the absolute size
        ("", 90, 7),
    ],
)
def test_blocks_grow(size: str, iteration: int, side: int) -> None:
    y = dropout_output("dropblock=1\nprobability=1\n" + size.replace(" ", "\n"), iteration)
    counts = set((y == 0).sum(dim=(2, 3)).flatten().tolist())
    assert counts <= {0, side**2}
    assert side**2 in counts
    kept = y != 0
    expected = kept / kept.float().mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(("iteration", "side"), [(43, 2), (85, 4)])
def test_relative_blocks_are_squares_of_the_shorter_side(iteration: int, side: int) -> None:
    y = dropout_output("dropblock=1\nprobability=1\ndropblock_size_rel=.5", iteration, height=8)
    counts = set((y == 0).sum(dim=(2, 3)).flatten().tolist())
    assert counts - {0} == {side**2}


@pytest.mark.parametrize("iteration", [9, 34, 85, 99])
def test_blocks_become_more_frequent(iteration: int) -> None:
    """A channel has one if the minimum of its 144 uniform numbers is below probability * growth / side^2."""
    share = (
        float((dropout_output("dropblock=1\ndropblock_size_abs=1\nprobability=.01", iteration) == 0).float().mean())
        * 144
    )
    probability = 1 - (1 - 0.01 * min(1, iteration / 85)) ** 144
    assert share == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 400))


@pytest.mark.parametrize(("start", "top", "left"), [((2, 4), 2, 4), ((5, 5), 5, 5), ((7, 6), 2, 1), ((0, 7), 0, 2)])
def test_a_block_starts_at_the_smallest_random_number(
    start: tuple[int, int], top: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an 8 x 8 map, where a block of 3 x 3 begins at 5 or before: C subtracts 5 from a start beyond (7 -> 2)."""
    layer = random_networks.layer("dropout", {"dropblock": "1", "dropblock_size_abs": "3"}, Shape(2, 8, 8)).train()
    numbers = torch.full((1, 2, 64), 0.9)
    numbers[0, 1, start[0] * 8 + start[1]] = 0.01  # below probability / 3^2; the first channel has no such number
    monkeypatch.setattr(torch, "rand", lambda *size, device=None: numbers)
    x = torch.full((1, 2, 8, 8), 2.0, requires_grad=True)
    y = layer(x, context=StepContext((8, 8), iteration=100, max_batches=100))
    expected = torch.full((1, 2, 8, 8), 2.0)
    expected[0, 1, top : top + 3, left : left + 3] = 0
    scale = 128 / (128 - 9)
    torch.testing.assert_close(y, expected * scale)
    y.sum().backward()
    torch.testing.assert_close(x.grad, expected / 2 * scale)
