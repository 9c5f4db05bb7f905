"""``[prelu]`` against torch.nn.PReLU: values, gradients, and what pruning keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from darknet_py import cfg, weights
from darknet_py.layers import Shape
from darknet_py.network import Network
from tests.helpers import random_networks


@pytest.mark.parametrize("shared", [False, True])
def test_values_and_gradients_are_those_of_torch(shared: bool) -> None:
    layer = random_networks.layer("prelu", {"shared": str(int(shared))}, Shape(3, 4, 5))
    ((_, slopes),) = layer.stored()
    reference = nn.PReLU(1 if shared else 3)
    reference.load_state_dict({"weight": slopes.detach().clone()})
    xs = [random_networks.random(2, 3, 4, 5, seed=1).requires_grad_() for _ in range(2)]
    ys = [layer(xs[0]), reference(xs[1])]
    factors = random_networks.random(2, 3, 4, 5, seed=2)
    for y in ys:
        (y * factors).sum().backward()
    torch.testing.assert_close(ys[0], ys[1])
    torch.testing.assert_close(xs[0].grad, xs[1].grad)
    torch.testing.assert_close(next(layer.parameters()).grad, reference.weight.grad)


def test_slopes_start_at_a_quarter_and_have_no_weight_decay() -> None:
    network = Network(cfg.loads("[net]\nwidth=4\nheight=4\nchannels=3\n[prelu]\n")).initialise()
    assert [array.tensor.tolist() for array in weights.stored(network)] == [[0.25] * 3]
    decayed, others = network[0].param_groups()
    assert (len(decayed.params), len(others.params)) == (0, 1)
