"""``prune(layers=...)``: residual units go as a whole, and what refers to later layers follows."""

from __future__ import annotations

import pathlib

import pytest
import torch

import darknet_py as dk
from darknet_py import loading
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.pruned_networks import part

TEXT = """# A residual network.
[net]
width=16
height=16
channels=3

[convolutional]
batch_normalize=1
filters=8
activation=leaky

# Unit 1
[convolutional]
batch_normalize=1
filters=4
activation=leaky

# Still unit 1
[convolutional]
batch_normalize=1
filters=8
activation=leaky

[shortcut]
from=-3
activation={}

# Unit 2
[convolutional]
batch_normalize=1
filters=8
activation=leaky

[shortcut]
from=-2
activation={}

# Reads both units.
[route]
layers = -1, 3, -6
[convolutional]
filters=5
activation=linear
"""
FIRST_UNIT, SECOND_UNIT = 2, 4  # the layers that are added


def build(activation: str, weak: int) -> Network:
    """The network, with a unit that adds nothing, whose score is the lowest."""
    net = random_networks.network(TEXT.format(activation, activation), path="res.cfg")
    part(net, weak).norm.scales.data.zero_()
    part(net, weak).biases.data.zero_()
    return net


@pytest.mark.parametrize("activation", ["linear", "leaky"])
@pytest.mark.parametrize("weak", [FIRST_UNIT, SECOND_UNIT])
def test_without_a_unit_that_adds_nothing_the_output_is_the_same(
    activation: str, weak: int, tmp_path: pathlib.Path
) -> None:
    net = build(activation, weak)
    pruned = dk.prune(net, layers=1)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(pruned.network.predict(x), net.predict(x))
    loaded = loading.load(*pruned.save(tmp_path))
    assert torch.equal(loaded.predict(x)[0], pruned.network.predict(x)[0])
    assert [(unit.first, unit.last) for unit in pruned.units] == [(1, 3) if weak == FIRST_UNIT else (4, 5)]


def test_the_text_keeps_its_comments_and_its_references() -> None:
    text = TEXT.format("linear", "linear")
    head, tail = text[: text.index("# Unit 1")], text[text.index("# Unit 2") :]
    expected = head + "# Unit 1\n# Still unit 1\n" + tail.replace("-1, 3, -6", "-1,0,-3")
    assert dk.prune(build("linear", FIRST_UNIT), layers=1).network.config.text == expected
    text = dk.prune(build("leaky", SECOND_UNIT), layers=1).network.config.text
    assert "# Unit 2\n[activation]\nactivation=leaky\n\n# Reads both units.\n[route]\nlayers = -1,3,-5\n" in text


def test_both_units_and_channels_of_what_is_left() -> None:
    pruned = dk.prune(build("linear", FIRST_UNIT), 0.5, layers=2, min_channels=2)
    assert [layer.names[0] for layer in pruned.network] == ["convolutional", "route", "convolutional"]
    assert pruned.origins == (0, 6, 7)
    assert pruned.network[0].shape.channels == 4
    assert pruned.network.predict(torch.rand(1, 3, 16, 16))[0].shape == (1, 5, 16, 16)


def test_a_unit_whose_inner_layers_are_read_elsewhere_stays() -> None:
    text = TEXT.format("linear", "linear").replace("layers = -1, 3, -6", "layers = -1, 1")
    net = random_networks.network(text)
    assert [(unit.first, unit.last) for unit in dk.prune(net, layers=1).units] == [(4, 5)]
    with pytest.raises(dk.ConfigError, match="expected 2 residual units to remove, found 1"):
        dk.prune(net, layers=2)
