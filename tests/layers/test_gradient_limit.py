"""``limit_gradient``: outputs of ``[connected]``, and with ``try_fix_nan=1`` those of convolutions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from darknet_py.layers import Gradients, Shape, StepContext
from tests.helpers import random_networks

GRADIENT = torch.tensor([[-3.0, -0.5, 0.0, 0.25, 7.0]]).view(1, 5, 1, 1)
LIMITED = torch.tensor([[-1.0, -0.5, 0.0, 0.25, 1.0]]).view(1, 5, 1, 1)


def bias_gradient(kind: str, context: StepContext | None, gradient: Tensor = GRADIENT) -> Tensor:
    """What reaches the biases of a linear layer, which is the gradient of its output."""
    keys = {"connected": {"output": "5"}, "convolutional": {"filters": "5"}}[kind]
    layer = random_networks.layer(kind, {**keys, "activation": "linear"}, Shape(3, 1, 1)).train()
    y = layer(torch.ones(1, 3, 1, 1), context=context)
    y.backward(gradient)
    biases = dict(layer.stored())["biases"].grad
    assert biases is not None
    return biases.view_as(gradient)


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [(Gradients.DARKNET, LIMITED), (Gradients.DARKNET_CPU, GRADIENT), (Gradients.AUTOGRAD, GRADIENT)],
)
def test_connected_limits_the_gradient_of_its_output_as_the_cuda_code_does(
    gradients: Gradients, expected: Tensor
) -> None:
    assert torch.equal(bias_gradient("connected", StepContext((1, 1), gradients=gradients)), expected)


def test_nothing_is_limited_outside_of_training() -> None:
    assert torch.equal(bias_gradient("connected", None), GRADIENT)


def test_the_limit_applies_before_loss_scaling() -> None:
    context = StepContext((1, 1), gradient_scale=64.0)
    assert torch.equal(bias_gradient("connected", context, 64 * GRADIENT), 64 * LIMITED)


def test_the_limit_is_one_of_half_precision() -> None:
    """The largest loss scale exceeds the range of float16."""
    layer = random_networks.layer("connected", {"output": "2", "activation": "linear"}, Shape(3, 1, 1)).train().half()
    y = layer(torch.ones(1, 3, 1, 1, dtype=torch.float16), context=StepContext((1, 1), gradient_scale=2.0**16))
    y.backward(torch.tensor([[math.inf, 1.0]], dtype=torch.float16).view(1, 2, 1, 1))
    assert dict(layer.stored())["biases"].grad.tolist() == [65504.0, 1.0]  # type: ignore[union-attr]


def test_the_limit_is_that_of_the_sum_over_all_readers() -> None:
    layer = random_networks.layer("connected", {"output": "5", "activation": "linear"}, Shape(3, 1, 1)).train()
    y = layer(torch.ones(1, 3, 1, 1), context=StepContext((1, 1)))
    (y * GRADIENT + y * -GRADIENT + y * 0.5).sum().backward()
    assert dict(layer.stored())["biases"].grad.tolist() == [0.5] * 5  # type: ignore[union-attr]


@pytest.mark.parametrize("fixed", [False, True])
def test_convolutions_are_limited_with_try_fix_nan_only(fixed: bool) -> None:
    context = StepContext((1, 1), try_fix_nan=fixed)
    assert torch.equal(bias_gradient("convolutional", context), LIMITED if fixed else GRADIENT)


@pytest.mark.parametrize("kind", ["connected", "convolutional"])
def test_nan_becomes_0_with_try_fix_nan(kind: str) -> None:
    gradient = torch.tensor([math.nan, math.inf, -math.inf, 0.5, 2.0]).view(1, 5, 1, 1)
    limited = bias_gradient(kind, StepContext((1, 1), try_fix_nan=True), gradient)
    assert limited.flatten().tolist() == [0.0, 1.0, -1.0, 0.5, 1.0]
    assert bias_gradient(kind, StepContext((1, 1)), gradient).flatten()[0].isnan()


@pytest.mark.parametrize("exact", [False, True])
def test_parts_of_recurrent_layers_are_limited_where_c_computes_their_gradient_correctly(exact: bool) -> None:
    keys = {"hidden": "4", "output": "5", "activation": "linear"}
    layer = random_networks.layer("rnn", keys, Shape(3, 1, 1)).train()
    y = layer(torch.ones(1, 3, 1, 1), context=StepContext((1, 1), exact_recurrence=exact))
    y.backward(GRADIENT)
    biases = dict(layer.stored())["output_layer.biases"].grad
    assert biases is not None
    assert torch.equal(biases.view_as(GRADIENT), GRADIENT if exact else LIMITED)
