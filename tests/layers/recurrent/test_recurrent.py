"""The state of recurrent layers between calls, and batches of several frames."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from darknet_py.layers import StepContext
from darknet_py.layers.recurrent._recurrent import Recurrent
from tests.helpers import random_networks
from tests.helpers.layer_samples import SAMPLES, Sample

RECURRENT = [sample for sample in SAMPLES if issubclass(sample.kind, Recurrent) and sample.name != "history"]

each = pytest.mark.parametrize("sample", RECURRENT, ids=str)


def make_layer(sample: Sample) -> Recurrent:
    layer = sample.build()
    assert isinstance(layer, Recurrent)
    return layer


def frames(sample: Sample, count: int, batch: int = 2) -> list[Tensor]:
    return [random_networks.random(batch, *sample.inputs[0], seed=number) for number in range(count)]


@torch.no_grad()
def run(layer: Recurrent, *xs: Tensor) -> list[Tensor]:
    return [layer(x).clone() for x in xs]


def test_every_recurrent_layer_is_tested() -> None:
    assert {sample.name for sample in RECURRENT} == {"rnn", "gru", "lstm", "crnn", "conv_lstm"}


@each
def test_the_state_is_kept_between_calls_and_cleared_by_reset(sample: Sample) -> None:
    layer, (x,) = make_layer(sample), frames(sample, 1)
    first, second, third = run(layer, x, x, x)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    layer.reset()
    assert all(map(torch.equal, run(layer, x, x), (first, second)))


@each
def test_the_order_of_frames_matters(sample: Sample) -> None:
    layer, (a, b) = make_layer(sample), frames(sample, 2)
    (_, forward) = run(layer, a, b)
    layer.reset()
    (alone,) = run(layer, b)
    assert not torch.equal(forward, alone)


@each
def test_another_batch_size_clears_the_state(sample: Sample) -> None:
    layer, (x,) = make_layer(sample), frames(sample, 1)
    first, _ = run(layer, x, x)
    (one,) = run(layer, x[:1])
    torch.testing.assert_close(one, first[:1])
    (again,) = run(layer, x)
    assert torch.equal(again, first)


@each
def test_images_of_a_batch_have_separate_states(sample: Sample) -> None:
    layer, xs = make_layer(sample), frames(sample, 3)
    whole = run(layer, *xs)
    for row in range(2):
        layer.reset()
        for y, alone in zip(whole, run(layer, *(x[row : row + 1] for x in xs)), strict=True):
            torch.testing.assert_close(y[row : row + 1], alone)


@each
def test_frames_in_one_call_equal_frames_in_separate_calls(sample: Sample) -> None:
    layer, xs = make_layer(sample), frames(sample, 3)
    separate = torch.cat(run(layer, *xs))
    with torch.no_grad():
        together = make_layer(sample)(torch.cat(xs), context=StepContext(size=(1, 1), time_steps=3))
    torch.testing.assert_close(together, separate)


@each
def test_training_neither_reads_nor_leaves_a_state(sample: Sample) -> None:
    layer, (x,) = make_layer(sample), frames(sample, 1)
    run(layer, x)
    layer.train()
    assert torch.equal(*run(layer, x, x))
    layer.eval()
    fresh = make_layer(sample)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(run(layer, x)[0], run(fresh, x)[0])


@each
def test_the_state_is_not_a_parameter_and_holds_no_graph(sample: Sample) -> None:
    layer, (x,) = make_layer(sample), frames(sample, 1)
    names = list(layer.state_dict())
    layer(x)
    assert list(layer.state_dict()) == names
    assert layer.state is not None
    assert not any(part.requires_grad for part in layer.state)
    layer(x).sum().backward()


@each
def test_a_copy_has_a_separate_state(sample: Sample) -> None:
    layer, (x,) = make_layer(sample), frames(sample, 1)
    run(layer, x)
    other = copy.deepcopy(layer)
    assert torch.equal(run(layer, x)[0], run(other, x)[0])
    run(other, x)
    other.reset()
    assert layer.state is not None


def test_reset_of_a_network_clears_every_state() -> None:
    net = random_networks.network("[net]\ninputs=4\n[gru]\noutput=3\n[connected]\noutput=3\n[lstm]\noutput=2\n")
    x = random_networks.random(1, 4)
    with torch.inference_mode():
        (first,), (second,) = net(x), net(x)
        net.reset()
        (third,) = net(x)
    assert not torch.equal(first, second)
    assert torch.equal(first, third)
