"""``dropconnect=``: weights are dropped in training (Wan et al., ICML 2013), those that remain are scaled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py.layers import Layer, Shape
from tests.helpers import random_networks

P = 0.3


def build(name: str) -> Layer:
    """A layer of 200 x 100 weights, linear and without batch norm."""
    size = {"filters": "200"} if name == "convolutional" else {"output": "200"}
    return random_networks.layer(name, {**size, "activation": "linear", "dropconnect": str(P)}, Shape(100, 1, 1))


def effective_weights(layer: Layer) -> Tensor:
    """[200, 100], by the answers to unit vectors."""
    biases = dict(layer.stored())["biases"]
    answers: Tensor = layer(torch.eye(100)[:, :, None, None])
    return (answers[:, :, 0, 0] - biases).t()


@pytest.mark.parametrize("name", ["convolutional", "connected"])
def test_a_share_of_the_weights_is_zero_and_the_others_are_scaled(name: str) -> None:
    layer = build(name)
    weights = effective_weights(layer).detach()
    layer.train()
    torch.manual_seed(0)
    dropped = effective_weights(layer)
    zero = dropped == 0
    assert float(zero.float().mean()) == pytest.approx(P, abs=0.015)
    torch.testing.assert_close(dropped[~zero], weights[~zero] / (1 - P), atol=1e-5, rtol=1e-4)
    assert not torch.equal(zero, effective_weights(layer) == 0)  # drawn again for each mini-batch
    dropped.sum().backward()
    gradient = dict(layer.named_parameters())["weights"].grad
    assert gradient is not None
    assert torch.equal(gradient.flatten(1) == 0, zero)


@pytest.mark.parametrize("name", ["convolutional", "connected"])
def test_the_mean_over_masks_is_the_layer_at_inference(name: str) -> None:
    layer = build(name)
    x = random_networks.random(4, 100, 1, 1, seed=3)
    expected = layer(x).detach()
    layer.train()
    torch.manual_seed(1)
    with torch.no_grad():
        mean = torch.stack([layer(x) for _ in range(1500)]).mean(dim=0)
    torch.testing.assert_close(mean, expected, atol=0.06, rtol=0)


def test_binary_weights_cannot_be_dropped() -> None:
    with pytest.raises(ValueError, match="dropconnect: expected no xnor"):
        random_networks.layer("convolutional", {"xnor": "1", "dropconnect": ".5"}, Shape(4, 6, 6))
