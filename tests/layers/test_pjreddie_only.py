"""Layers of pjreddie's dialect: ``[l2norm]``, ``[logistic]``, ``[iseg]``, and softmax at every position."""

from __future__ import annotations

import torch

from darknet_py.cfg import Dialect
from darknet_py.layers import Layer, Shape
from tests.helpers import random_networks

X = Shape(6, 3, 4)


def make_layer(name: str, **keys: int) -> Layer:
    return random_networks.layer(name, {key: str(value) for key, value in keys.items()}, X, dialect=Dialect.PJREDDIE)


def test_l2norm_gives_every_cell_length_1() -> None:
    x = random_networks.random(2, *X)
    y = make_layer("l2norm")(x)
    torch.testing.assert_close(y.square().sum(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(y * x.norm(dim=1, keepdim=True), x)


def test_logistic_is_elementwise() -> None:
    x = random_networks.random(2, *X, low=-5, high=5)
    torch.testing.assert_close(make_layer("logistic")(x), 1 / (1 + torch.exp(-x)))


def test_iseg_keeps_the_embedding() -> None:
    x = random_networks.random(2, *X, low=-5, high=5)
    y = make_layer("iseg", classes=4, ids=2)(x)
    torch.testing.assert_close(y[:, :4], 1 / (1 + torch.exp(-x[:, :4])))
    assert torch.equal(y[:, 4:], x[:, 4:])


def test_spatial_softmax_is_over_the_channels_of_a_cell() -> None:
    x = random_networks.random(2, *X, low=-5, high=5)
    torch.testing.assert_close(make_layer("softmax", spatial=1)(x).sum(dim=1), torch.ones(2, 3, 4))
    alexeyab = random_networks.layer("softmax", {"spatial": "1"}, X)
    torch.testing.assert_close(alexeyab(x).flatten(1).sum(dim=1), torch.ones(2))
