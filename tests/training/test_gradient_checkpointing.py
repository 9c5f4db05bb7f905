"""With gradient checkpointing an iteration gives the same weights and statistics, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py import Trainer
from darknet_py.training.gradient_checkpointing import checkpoint_activations
from tests.helpers import random_networks

NET = "[net]\nwidth=16\nheight=16\nchannels=3\nbatch=4\nmax_batches=100\nlearning_rate=0.05\nmomentum=0.9\n{}\n"
CONV = "[conv]\nfilters=8\nsize=3\npad=1\nstride=2\nbatch_normalize={}\nactivation={}\n"
DETECTOR = (
    CONV.format(1, "mish")
    + CONV.format(2, "leaky")
    + "[conv]\nfilters=8\nsize=1\nbatch_normalize=1\nactivation=swish\n[shortcut]\nfrom=-2\nactivation=leaky\n"
    + "[dropout]\nprobability=.3\n[conv]\nfilters=16\nactivation=linear\n"
    + "[yolo]\nclasses=3\nnum=2\nanchors=4,5,9,8\niou_loss=ciou\n"
)
DENSE = (
    CONV.format(1, "leaky")
    + "[connected]\noutput=32\nbatch_normalize=1\nactivation=leaky\n[connected]\noutput=52\nactivation=linear\n"
    + "[detection]\nclasses=3\ncoords=4\nnum=2\nside=2\nsqrt=1\nobject_scale=5\nnoobject_scale=2\ncoord_scale=5\n"
)
CASES = {
    "detector": (DETECTOR, "", "darknet"),
    "autograd": (DETECTOR, "", "autograd"),
    "limited convolutions": (DETECTOR, "try_fix_nan=1", "darknet"),
    "limited [connected]": (DENSE, "", "darknet"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_iteration_is_the_same_bit_for_bit(case: str) -> None:
    text, keys, gradients = CASES[case]
    results = []
    for recompute in (False, True):
        network = random_networks.network(NET.format(keys) + text)
        trainer = Trainer(network, gradients=gradients)
        images = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
        targets = [torch.tensor([[0.3, 0.4, 0.3, 0.5, 1.0], [0.8, 0.7, 0.2, 0.2, 2.0]])] * 4
        torch.manual_seed(4)

        def step() -> float:
            return trainer.step([(x, targets) for x in images])  # noqa: B023

        if recompute:
            with checkpoint_activations(network):
                costs = [step(), step()]
        else:
            costs = [step(), step()]
        state: dict[str, Tensor] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        results.append((costs, state))
    (costs, plain), (other_costs, other) = results
    assert costs == other_costs
    start = random_networks.network(NET.format(keys) + text).state_dict()
    for name, tensor in plain.items():
        assert torch.equal(tensor, other[name]), name
        assert not torch.equal(tensor, start[name]), name
