"""A small detector and its weights file, for the tests of conversion."""

from __future__ import annotations

import pathlib
import warnings

from torch import nn

from darknet_py import cfg, weights
from darknet_py.errors import UnusedOptionWarning
from darknet_py.network import Network
from tests.helpers import random_networks

HEAD = """
[net]
width=32
height=32
channels=3
[conv]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[conv]
filters=4
size=1
batch_normalize=1
activation=mish
[shortcut]
from=-1
[conv]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=4,4,8,8
classes=2
num=2
"""
TRAINED = HEAD.replace("[net]", "[net]\nbatch=2\nsubdivisions=1\nmax_batches=4\n")  # can be trained


def save_random_weights(path: pathlib.Path, dialect: str = "alexeyab") -> Network:
    """Return the network of a cfg with random weights, saved to ``a.weights`` in the working directory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)
        net = random_networks.randomise(Network(cfg.load(path), dialect=dialect))
    net.version, net.seen = (0, 2, 5), 2**33 + 7
    weights.save(net, "a.weights")
    return net


def plain_torch_network() -> nn.Sequential:
    """Return the layers of ``HEAD`` as plain PyTorch modules."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.1),
        nn.Conv2d(8, 4, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.Mish(),
        nn.Conv2d(4, 14, 1),
    ).eval()
