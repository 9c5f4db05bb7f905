"""``adversarial_lr``: before a mini-batch the images are moved against the network (self-adversarial training).

What C's CUDA code does (``network_kernels.cu``, ``train_network_datum_gpu``) is written out here: in half of the
mini-batches after burn-in, a forward and backward pass for targets of 0 with batch norm's rolling statistics, and
``x - adversarial_lr * iteration / max_batches * gradient``, limited to 0..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darknet_py import Trainer, TrainOptions, cfg
from darknet_py.layers import Shape, StepContext
from darknet_py.network import Network
from tests.helpers import random_networks

CFG = """[net]
width=6
height=6
channels=3
batch=4
learning_rate=0.01
max_batches=400
burn_in=3
adversarial_lr=20
[convolutional]
filters=5
size=3
pad=1
batch_normalize=1
activation=linear
[avgpool]
[softmax]
"""


def trained_on(network: Network, trainer: Trainer, images: Tensor) -> list[Tensor]:
    """Train an iteration, and return what the network's passes read."""
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach().clone())

    handle = network[0].register_forward_pre_hook(keep)
    trainer.step([(images, torch.eye(5)[:4])])
    handle.remove()
    return seen


def build() -> Network:
    torch.manual_seed(0)
    network = Network(cfg.loads(CFG)).initialise()
    for name, buffer in network.named_buffers():
        if name.endswith("rolling_variance"):
            buffer.fill_(0.5)
    return network


def test_half_of_the_mini_batches_after_burn_in() -> None:
    network = build()
    trainer = Trainer(network, options=TrainOptions(seed=5))
    passes = [len(trained_on(network, trainer, torch.rand(4, 3, 6, 6))) for _ in range(304)]
    assert passes[:4] == [1] * 4
    assert set(passes) == {1, 2}
    assert 0.42 < passes[4:].count(2) / 300 < 0.58


def test_burn_in_is_not_perturbed() -> None:
    passes: dict[int, set[int]] = {3: set(), 4: set()}
    for iteration, counts in passes.items():
        for seed in range(10):
            network = build()
            trainer = Trainer(network, options=TrainOptions(seed=seed))
            trainer.iteration = iteration
            counts.add(len(trained_on(network, trainer, torch.rand(4, 3, 6, 6))))
    assert passes == {3: {1}, 4: {1, 2}}


def test_images_move_by_the_gradient_and_batch_norm_stays() -> None:
    network = build()
    trainer = Trainer(network, options=TrainOptions(seed=5))
    trainer.iteration = 100
    checked = 0
    while checked < 3:
        images = torch.rand(4, 3, 6, 6)
        state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        iteration = trainer.iteration
        passes = trained_on(network, trainer, images)
        if len(passes) == 1:
            assert torch.equal(passes[0], images)
            continue
        checked += 1
        x = images.clone().requires_grad_()
        maps = F.conv2d(x, state["layers.0.weights"], padding=1)
        mean, variance = (state[f"layers.0.norm.rolling_{kind}"] for kind in ("mean", "variance"))
        scales = state["layers.0.norm.scales"]
        maps = F.batch_norm(maps, mean, variance, scales, state["layers.0.biases"], False, 0.0, 1e-5)
        logits = maps.mean(dim=(2, 3))
        (gradient,) = torch.autograd.grad(logits, x, logits.softmax(dim=1).detach())
        expected = (images - 20 * iteration / 400 * gradient).clamp(0, 1)
        assert torch.equal(passes[0], images)
        torch.testing.assert_close(passes[1], expected, atol=1e-5, rtol=1e-4)
        assert (passes[1] - images).abs().max() > 0.01
        # The statistics are those of one pass, on the changed images.
        maps = F.conv2d(passes[1], state["layers.0.weights"], padding=1)
        after = network.state_dict()["layers.0.norm.rolling_mean"]
        torch.testing.assert_close(after, 0.99 * mean + 0.01 * maps.mean(dim=(0, 2, 3)))


def test_the_adversarial_pass_leaves_no_gradient_behind() -> None:
    """C adds the gradient of the biases of layers without batch norm to that of the update."""
    plain = CFG.replace("batch_normalize=1\n", "")
    for seed in range(20):
        torch.manual_seed(0)
        network = Network(cfg.loads(plain)).initialise()
        trainer = Trainer(network, options=TrainOptions(seed=seed))
        trainer.iteration = 100
        passes = trained_on(network, trainer, torch.rand(4, 3, 6, 6))
        if len(passes) == 2:
            break
    assert (passes[1] - passes[0]).abs().max() > 0.01
    torch.manual_seed(0)
    other = Network(cfg.loads(plain.replace("adversarial_lr=20\n", ""))).initialise()
    second = Trainer(other, options=TrainOptions(seed=seed))
    second.iteration = 100
    second.step([(passes[1], torch.eye(5)[:4])])
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_yolo_suppresses_what_it_detects() -> None:
    """Delta of the pass without targets (``yolo_layer.c``, ``process_batch``), weighted by sqrt(w * h) of the box.

    Objectness and the classes that exceed 0.25 fall to 0; where there is one, the box falls to 0, too, and the other
    classes rise to 1.
    """
    keys = {"classes": "2", "num": "2", "anchors": "6,9,20,14", "obj_normalizer": ".7"}
    layer = random_networks.layer("yolo", keys, Shape(14, 3, 4)).train()
    x = torch.randn(2, 14, 3, 4, generator=torch.Generator().manual_seed(1)) * 1.5
    output = layer(x)
    context = StepContext(size=(32, 24), iteration=10, max_batches=20, adversarial=True)
    delta = layer.loss(x, output, torch.zeros(2, 1, 6), context).delta.view(2, 2, 7, 3, 4)
    entries = output.view(2, 2, 7, 3, 4)
    anchors = torch.tensor([[6.0, 9.0], [20.0, 14.0]]) / torch.tensor([32.0, 24.0])
    sizes = entries[:, :, 2:4].exp() * anchors[None, :, :, None, None]
    weight = sizes.prod(dim=2).sqrt()
    objectness, classes = entries[:, :, 4], entries[:, :, 5:]
    torch.testing.assert_close(delta[:, :, 4], -0.7 * weight * objectness)
    high = classes * objectness[:, :, None] > 0.25
    detected = high.any(dim=2, keepdim=True)
    assert 0.1 < float(detected.float().mean()) < 0.9
    expected = torch.where(high, -classes, torch.where(detected, 1 - classes, 0.0)) * weight[:, :, None]
    torch.testing.assert_close(delta[:, :, 5:], expected)
    box = torch.where(detected, -entries[:, :, :4], 0.0) * weight[:, :, None]
    torch.testing.assert_close(delta[:, :, :4], box)
