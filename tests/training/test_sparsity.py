"""``sparsity``: the L1 penalty moves every scale towards 0, and nothing else."""

from __future__ import annotations

import pytest
import torch

from darknet_py import Trainer, TrainOptions, cfg
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.pruned_networks import part

CFG = """[net]
width=8
height=8
channels=3
batch=4
learning_rate=0.1
momentum=0.5
[convolutional]
filters=5
size=3
batch_normalize=1
activation=leaky
[avgpool]
[softmax]
"""


def trained(sparsity: float, steps: int, text: str = CFG) -> Network:
    network = random_networks.network(text)
    part(network, 0).norm.scales.data[0] *= -1
    trainer = Trainer(network, options=TrainOptions(sparsity=sparsity))
    for _ in range(steps):
        trainer.step([random_networks.classifier_batch()])
    return network


def test_the_first_update_moves_scales_by_the_learning_rate_times_the_penalty() -> None:
    start, plain, sparse = trained(0, 0), trained(0, 1), trained(0.25, 1)
    sign = part(start, 0).norm.scales.sign()
    assert sign.unique().tolist() == [-1, 1]
    torch.testing.assert_close(part(sparse, 0).norm.scales - part(plain, 0).norm.scales, -0.1 * 0.25 * sign)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, sparse.state_dict()[name]) == (not name.endswith("scales")), name


def test_the_penalty_does_not_depend_on_the_division_into_mini_batches() -> None:
    x, y = random_networks.classifier_batch()
    moved = []
    for pairs in ([(x, y)], [(x[:2], y[:2]), (x[2:], y[2:])]):
        scales = []
        for sparsity in (0.0, 0.25):
            network = random_networks.network(CFG)
            Trainer(network, options=TrainOptions(sparsity=sparsity)).step(pairs)
            scales.append(part(network, 0).norm.scales.detach().clone())
        moved.append(scales[1] - scales[0])
    torch.testing.assert_close(moved[0], moved[1])


def test_a_resumed_run_keeps_it() -> None:
    options = TrainOptions(sparsity=0.5)
    assert TrainOptions().resumed(options.recipe).sparsity == 0.5
    assert TrainOptions(sparsity=0.0).resumed(options.recipe).sparsity == 0


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_other_values_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="sparsity: expected a number of 0 or more, got"):
        trained(value, 0)


def test_a_network_without_batch_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match="sparsity: expected a network with batch norm"):
        Trainer(Network(cfg.loads(CFG.replace("batch_normalize=1", ""))), options=TrainOptions(sparsity=0.1))
