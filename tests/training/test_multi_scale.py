"""Training at another size than the cfg's is training of the network with that size (``random=1``)."""

from __future__ import annotations

import pytest
import torch

from darknet_py import Trainer
from tests.helpers import random_networks

NET = "[net]\nwidth={}\nheight={}\nchannels=3\nbatch=2\nmax_batches=100\nlearning_rate=0.01\n"
CONV = "[conv]\nfilters=8\nsize=3\npad=1\nstride=2\nbatch_normalize=1\nactivation=leaky\n"
ANCHORS = {"yolo": "4,5,9,8", "Gaussian_yolo": "4,5,9,8", "region": "1,1,3,2"}


@pytest.mark.parametrize(("head", "filters"), [("yolo", 16), ("Gaussian_yolo", 24), ("region", 16)])
@pytest.mark.parametrize("size", [(32, 16), (48, 64)])
def test_costs_and_weights_are_those_of_a_network_of_that_size(head: str, filters: int, size: tuple[int, int]) -> None:
    tail = f"[conv]\nfilters={filters}\nactivation=linear\n[{head}]\nclasses=3\nnum=2\nanchors={ANCHORS[head]}\n"
    width, height = size
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    targets = [torch.tensor([[0.3, 0.4, 0.3, 0.5, 1.0], [0.8, 0.7, 0.2, 0.2, 2.0]])] * 2
    results = []
    for cfg_size in (size, (16, 16)):
        network = random_networks.network(NET.format(*cfg_size) + CONV + CONV + tail)
        trainer = Trainer(network)
        cost = trainer.step([(images, targets)])
        results.append((cost, torch.cat([p.detach().flatten() for p in network.parameters()])))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
