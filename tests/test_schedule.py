"""Learning rates equal the formulas of ``get_current_rate``; options that few cfgs use act in an iteration."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest
import torch

from darknet_py import Trainer, cfg, schedule
from darknet_py.cfg.net_section import Net, Policy
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.layers import Shape, StepContext
from darknet_py.layers._norm import Norm
from darknet_py.layers.convolutional import Convolutional
from darknet_py.network import Network
from darknet_py.training.label_rejection import LabelRejection
from tests.helpers import random_networks

BASE: dict[str, Any] = {"learning_rate": 0.1, "max_batches": 100}
# Policy, keys, iteration, learning rate.
LEARNING_RATES: list[tuple[str, dict[str, Any], int, float]] = [
    ("constant", {}, 50, 0.1),
    ("constant", {"burn_in": 10}, 5, 0.1 * 0.5**4),
    ("poly", {"burn_in": 10, "power": 2.0}, 5, 0.1 * 0.5**2),
    ("constant", {"burn_in": 10}, 10, 0.1),
    ("step", {"step": 10, "scale": 0.5}, 25, 0.1 * 0.25),
    ("steps", {"steps": (10, 20), "scales": (0.5, 0.1)}, 9, 0.1),
    ("steps", {"steps": (10, 20), "scales": (0.5, 0.1)}, 10, 0.05),
    ("steps", {"steps": (10, 20), "scales": (0.5, 0.1)}, 20, 0.005),
    ("exp", {"gamma": 0.9}, 7, 0.1 * 0.9**7),
    ("poly", {"power": 3.0}, 40, 0.1 * 0.6**3),
    ("sigmoid", {"gamma": 0.3, "step": 10}, 12, 0.1 / (1 + math.exp(0.6))),
    ("sig", {"gamma": 100.0, "step": 10}, 99, 0.0),
    ("sgdr", {}, 50, 0.00001 + 0.5 * (0.1 - 0.00001)),
    ("sgdr", {"sgdr_cycle": 10}, 10, 0.00001),
    ("sgdr", {"sgdr_cycle": 10}, 20, 0.00001 + 0.5 * (0.1 - 0.00001)),
    ("sgdr", {"sgdr_cycle": 10, "sgdr_mult": 3}, 25, 0.00001 + 0.5 * (0.1 - 0.00001)),
]


@pytest.mark.parametrize(("policy", "keys", "number", "expected"), LEARNING_RATES)
def test_learning_rates_follow_the_policy(policy: str, keys: dict[str, Any], number: int, expected: float) -> None:
    net = Net(**{**BASE, **keys}, policy=Policy(policy))
    assert schedule.learning_rate(net, number) == pytest.approx(expected, abs=1e-12)


def test_a_random_learning_rate_comes_from_the_given_generator() -> None:
    net = Net(**BASE, policy=Policy.RANDOM, power=2.0)
    assert schedule.learning_rate(net, 3, random.Random(1)) == 0.1 * random.Random(1).uniform(0, 1) ** 2


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"policy": Policy.STEPS, "steps": (1, 2)}, "expected one scale per step, got 0 scales for 2 steps"),
        ({"policy": Policy.POLY, "max_batches": 0}, "max_batches"),
    ],
)
def test_invalid_policies_are_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        schedule.learning_rate(Net(**{**BASE, **keys}), 5)


def test_sequences_grow_with_seq_scales() -> None:
    net = Net(subdivisions=8, sequential_subdivisions=8, steps=(10, 20), seq_scales=(0.5, 0.5))
    assert [schedule.sequence_length(net, number) for number in (1, 10, 20)] == [1, 2, 4]
    assert schedule.sequence_length(Net(subdivisions=8), 100) == 1


def test_cross_mini_batch_norm_averages_over_mini_batches() -> None:
    """Statistics of mini-batch k are the mean over those up to k; one alone: batch norm, except for N - 1."""
    norm = Norm(3, cross_mini_batch=True).train()
    norm.initialise()
    parts = torch.rand(3, 4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    for number, x in enumerate(parts):
        y = norm.forward(x, torch.zeros(3), StepContext(size=(5, 5), subdivision=number))
    means = parts.mean(dim=(1, 3, 4))
    squares = parts.square().sum(dim=(1, 3, 4)) / 99
    mean, variance = means.mean(dim=0), squares.mean(dim=0) - means.mean(dim=0).square()
    expected = (parts[2] - mean.view(-1, 1, 1)) / (variance + 1e-5).sqrt().view(-1, 1, 1)
    assert torch.allclose(y, expected, atol=1e-5)


def test_dropblock_zeroes_squares() -> None:
    keys = {"dropblock": "1", "dropblock_size_abs": "3", "probability": ".05"}
    layer = random_networks.layer("dropout", keys, Shape(40, 12, 12)).train()
    torch.manual_seed(0)
    y = layer(torch.ones(2, 40, 12, 12), context=StepContext(size=(12, 12), iteration=90, max_batches=100))
    dropped = (y == 0).sum(dim=(2, 3))
    assert set(dropped.flatten().tolist()) == {0, 9}
    assert torch.allclose(y.mean(dim=(1, 2, 3)), torch.ones(2))
    early = StepContext(size=(12, 12), iteration=1, max_batches=100000)
    assert float((layer(torch.ones(2, 40, 12, 12), context=early) == 0).float().mean()) < 0.01
    assert torch.equal(layer.eval()(y), y)


HEAD = "[conv]\nfilters=8\nsize=3\npad=1\nstride=2\nactivation=mish\n[conv]\nfilters=8\nactivation=linear\n"
YOLO = "[yolo]\nclasses=3\nnum=1\nanchors=8,8\n"
NET = "[net]\nwidth=16\nheight=16\nchannels=3\nbatch=4\nmax_batches=20\nlearning_rate=0.001\n"


def test_an_adversarial_perturbation_suppresses_objects() -> None:
    torch.manual_seed(0)
    net = Network(cfg.loads(NET + "adversarial_lr=50\n" + HEAD + YOLO)).initialise()
    trainer, x = Trainer(net), torch.rand(4, 3, 16, 16)
    context = StepContext(size=(16, 16), iteration=10, max_batches=20)
    with trainer.engine.training(10):
        changed = trainer.engine._perturb(x, torch.zeros(4, 1, 6), context)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    before, after = (net(images)[0][:, 4].detach().mean() for images in (x, changed))
    assert float(after) < float(before)


def test_similar_filters_are_reinitialised() -> None:
    (layer,) = list(Network(cfg.loads(NET + "[conv]\nfilters=4\nsize=3\nactivation=mish\n")).initialise())
    assert isinstance(layer, Convolutional)
    weights = dict(layer.stored())["weights"]
    with torch.no_grad():
        weights[2] = weights[0] * 2
    before = weights.detach().clone()
    layer.reinitialise_similar_filters(0.4)
    assert [torch.equal(a, b) for a, b in zip(before, weights, strict=True)] == [False, True, True, True]
    layer.reinitialise_similar_filters(1.1)
    assert torch.equal(before[1:], weights[1:])


def test_late_outliers_are_rejected() -> None:
    net = Net(max_batches=100, badlabels_rejection_percentage=0.1)
    rejection = LabelRejection()
    delta = torch.full((1000, 8), 0.01)
    assert rejection(net, 75, delta, 3) is delta
    for _ in range(200):
        rejection(net, 80, delta, 3)
    bad = delta.clone()
    bad[5, 4] = 7.0
    kept = rejection(net, 80, bad, 3)
    assert float(kept[5, 4]) == 0
    small = LabelRejection(mean=1.0)(Net(max_batches=100, equidistant_point=10), 90, torch.tensor([[0.1, -5.0]]), 1)
    assert small.tolist() == [[0.0, -5.0]]


def test_options_that_training_ignores_are_reported_in_one_warning() -> None:
    text = NET + "center=1\nnotruth=1\n" + HEAD.replace("size=3\n", "size=3\nsmooth=.1\n") + YOLO
    net = Network(cfg.loads(text))
    with pytest.warns(UnusedOptionWarning) as warnings:
        Trainer(net)
    (warning,) = warnings
    assert re.fullmatch(
        r"options that do not change training: <text>:\d+: \[net\] center: not supported, ignored; "
        r"<text>:\d+: \[net\] notruth: not supported, ignored; "
        r"<text>:\d+: \[conv\] smooth: not supported, ignored",
        str(warning.message),
    )


def test_recurrent_layers_learn_through_time() -> None:
    torch.manual_seed(0)
    net_text = "[net]\ninputs=3\nbatch=2\ntime_steps=4\nlearning_rate=0.1\n"
    text = net_text + "[{}]\noutput=5\n{}[connected]\noutput=3\n[softmax]\n"
    for name, more in (("rnn", "hidden=4\n"), ("lstm", ""), ("gru", "")):
        net = Network(cfg.loads(text.format(name, more))).initialise()
        trainer, x, t = Trainer(net), torch.rand(8, 3), torch.eye(3)[torch.arange(8) % 3]
        before = [parameter.detach().clone() for parameter in net.parameters()]
        costs = [trainer.step([(x, t)]) for _ in range(10)]
        assert costs[-1] < costs[0], name
        assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)), name


@pytest.mark.parametrize(
    ("max_batches", "images", "classes", "advised"),
    [
        (2_000_200, 64, 80, 160_000),
        (2_000_200, 64, 2, 6_000),
        (2_000_200, 117_266, 80, None),  # yolov4-tiny on COCO
        (500_500, 117_266, 80, None),  # yolov4 on COCO
        (40_200, 16_551, 20, None),  # VOC
        (6_000, 20, 1, None),  # the usual number, however few the images are
        (2_000_200, 0, 80, None),  # images without end
    ],
)
def test_far_too_many_iterations_are_noted(max_batches: int, images: int, classes: int, advised: int | None) -> None:
    note = schedule.length_note(Net(max_batches=max_batches, batch=64), images, classes)
    if advised is None:
        assert note == ""
    else:
        steps = f"steps={advised * 4 // 5},{advised * 9 // 10}"
        assert note.startswith(f"max_batches={max_batches}: {max_batches * 64 // images:,} epochs of {images} images")
        assert note.endswith(f"max_batches={advised}, {steps}")
