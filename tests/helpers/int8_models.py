"""The network of the package and a small data set of digits for int8, and a network that int8 spoils."""

from __future__ import annotations

import copy
import pathlib

import torch

import darknet_py
from darknet_py.demo.digits import write_dataset
from darknet_py.network import Network

SPOILT = 18  # the layer of ``spoilt_digits`` whose input cannot be rounded
FACTOR = 3000.0


def dataset(folder: pathlib.Path, images: int = 24) -> pathlib.Path:
    """Write images of digits with labels, and return the .data file."""
    return write_dataset(folder, 2, images)


def digits() -> Network:
    """The detector of digits that is in the package, 96 x 96."""
    return darknet_py.load("digits")


def spoilt_digits() -> Network:
    """The same function of images, but one channel between two layers is so large that int8 rounds the others to 0.

    ``leaky`` is homogeneous: what a filter is multiplied by, the next layer's weights of this channel are divided by.
    """
    network = copy.deepcopy(digits())
    first, second = network[SPOILT - 1], network[SPOILT]
    with torch.no_grad():
        stored = dict(first.stored())
        for name in ("scales", "biases"):
            stored[name][0] *= FACTOR
        second.get_parameter("weights")[:, 0] /= FACTOR
    return network
