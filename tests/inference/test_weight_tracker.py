"""The tracker of weights is fast, and sees what torch counts."""

from __future__ import annotations

import timeit

import torch
from torch import nn

from darknet_py import cfg
from darknet_py.inference.fused_network import optimise
from darknet_py.inference.weight_tracker import WeightTracker
from darknet_py.network import Network
from tests.helpers import random_networks


def test_a_check_takes_less_than_one_percent_of_a_call() -> None:
    net = random_networks.randomise(Network(cfg.load("cfgs/yolov4-tiny.cfg")))
    tracker, run = WeightTracker(net), optimise(net)
    x = random_networks.random(1, *net.shape, low=0)
    check = min(timeit.repeat(tracker.changed, number=10, repeat=3)) / 10
    assert check < 0.01 * min(timeit.repeat(lambda: run(x), number=1, repeat=3))


def test_changes_are_reported_until_update() -> None:
    net = random_networks.network(random_networks.TEXT)
    tracker = WeightTracker(net)
    assert not tracker.changed()
    net(torch.zeros(1, *net.shape))
    assert not tracker.changed()
    with torch.no_grad():
        next(net.buffers()).add_(1)
    assert tracker.changed()
    assert tracker.changed()
    tracker.update()
    assert not tracker.changed()
    net[2].register_parameter("extra", nn.Parameter(torch.zeros(1)))
    assert tracker.changed()


def test_weights_of_inference_mode_are_compared_by_identity() -> None:
    with torch.inference_mode():
        net = random_networks.network(random_networks.TEXT)
        tracker = WeightTracker(net)
        assert not tracker.changed()
        net[0].register_parameter("weights", nn.Parameter(torch.zeros(2, 1, 3, 3)))
        assert tracker.changed()
