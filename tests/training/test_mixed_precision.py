"""Mixed precision: layers run under ``torch.autocast``, losses, weights and updates are float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py import Trainer, TrainOptions
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.random_networks import classifier_batch

TEXT = """[net]
width=8
height=8
channels=3
batch=4
max_batches=100
learning_rate=0.1
momentum=0
decay=0
[conv]
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky
[conv]
filters=5
size=3
activation=linear
[avgpool]
[softmax]
"""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_gradients(network: Network, dtype: torch.dtype) -> dict[str, Tensor]:
    """Gradients of the summed cross-entropy, by torch alone; float16 with a loss scale of 1024."""
    p = {name: tensor.detach().clone().requires_grad_() for name, tensor in network.named_parameters()}
    x, targets = classifier_batch()
    with torch.autocast("cpu", dtype):
        y = F.conv2d(x, p["layers.0.weights"], padding=1)
        y = F.batch_norm(y, None, None, p["layers.0.norm.scales"], p["layers.0.biases"], True, 0.0, 1e-5)
        y = torch.where(y > 0, y, 0.1 * y)
        y = F.conv2d(y, p["layers.1.weights"], p["layers.1.biases"])
    logits = y.float().mean(dim=(2, 3))
    scale = 1024.0 if dtype is torch.float16 else 1.0
    loss = -scale * (targets * logits.log_softmax(dim=1)).sum()
    gradients = torch.autograd.grad(loss, list(p.values()))
    return {name: gradient / scale for name, gradient in zip(p, gradients, strict=True)}


@pytest.mark.parametrize("amp", DTYPES)
def test_an_update_is_that_of_torchs_autocast(amp: str) -> None:
    network = random_networks.network(TEXT)
    before = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    expected = autocast_gradients(network, DTYPES[amp])
    Trainer(network, options=TrainOptions(amp=amp)).step([classifier_batch()])
    for name, tensor in network.named_parameters():
        assert tensor.dtype is torch.float32
        step = (before[name] - tensor.detach()) * 4 / 0.1
        rounding = 2e-2 if amp == "bf16" else 4e-3
        assert float((step - expected[name]).norm()) <= rounding * float(expected[name].norm()), name


def test_float32_is_left_where_rounding_matters() -> None:
    """bfloat16 has 8 bits: an update of 1e-3 of a weight would be lost, and the loss would be a multiple of 2^-8."""
    network = random_networks.network(TEXT)
    seen: dict[str, torch.dtype] = {}
    network[0].register_forward_hook(lambda _layer, _inputs, y: seen.update(conv=y.dtype))
    trainer = Trainer(network, options=TrainOptions(amp="bf16"))
    costs = {trainer.step([classifier_batch()]) for _ in range(3)}
    assert seen == {"conv": torch.bfloat16}
    assert len(costs) == 3
    assert all(tensor.dtype is torch.float32 for tensor in trainer.optimizer.state[0]["velocity"])
    assert all(buffer.dtype is torch.float32 for buffer in network.buffers() if buffer.is_floating_point())


def test_an_iteration_whose_gradient_overflows_float16_is_skipped() -> None:
    network = random_networks.network(TEXT)
    trainer = Trainer(network, options=TrainOptions(amp="fp16"))
    trainer.engine.scaler.factor = 2.0**40
    before = [parameter.detach().clone() for parameter in network.parameters()]
    trainer.step([classifier_batch()])
    assert trainer.engine.scaler.factor == 2.0**39
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    trainer.engine.scaler.factor = 1024.0
    trainer.step([classifier_batch()])
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
