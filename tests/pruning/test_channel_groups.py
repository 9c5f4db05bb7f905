"""Channels that belong together are removed together: with the removed ones silent, pruning changes no output."""

from __future__ import annotations

import pathlib

import pytest
import torch

from darknet_py.layers import Score
from darknet_py.network import Network
from darknet_py.pruning.pruner import prune
from darknet_py.pruning.selection import trace_channels
from tests.helpers import pruned_networks, random_networks

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"
CONV = "[convolutional]\nbatch_normalize=1\nactivation=leaky\nsize=3\npad=1\nfilters={}\n"
POINT = "[convolutional]\nbatch_normalize=1\nactivation=swish\nfilters={}\n"
HEAD = "[convolutional]\nfilters=5\nactivation=linear\n"


def conv(filters: int, more: str = "", form: str = CONV) -> str:
    return form.format(filters) + more


NETWORKS = {
    "shortcut": conv(12) + conv(12) + conv(12) + "[shortcut]\nfrom=-3\nactivation=linear\n" + conv(8),
    "shortcut of fewer channels": conv(6) + conv(12) + "[shortcut]\nfrom=-2\nactivation=leaky\n" + conv(8),
    "shortcut of more channels": conv(12) + conv(6) + "[shortcut]\nfrom=-2\nactivation=leaky\n" + conv(8),
    "shortcut of several": conv(9) + conv(9) + conv(9) + "[shortcut]\nfrom=-2,-3\nactivation=mish\n" + conv(8),
    "weighted shortcut": conv(9)
    + conv(9)
    + "[shortcut]\nfrom=-2\nactivation=linear\nweights_type=per_channel\nweights_normalization=softmax\n"
    + conv(8),
    "squeeze and excitation": conv(12)
    + "[avgpool]\n[convolutional]\nfilters=4\nactivation=relu\n[convolutional]\nfilters=12\nactivation=logistic\n"
    + "[scale_channels]\nfrom=-4\n"
    + conv(8),
    "gate per cell": conv(12) + "[convolutional]\nfilters=1\n[scale_channels]\nfrom=-2\nscale_wh=1\n" + conv(8),
    "sam": conv(12) + "[convolutional]\nbatch_normalize=1\nfilters=12\n[sam]\nfrom=-2\n" + conv(8),
    "groups": conv(12) + conv(18, "groups=3\n") + conv(8),
    "depthwise convolution": conv(12) + conv(24, "groups=12\n") + conv(8),
    "depthwise without batch norm": conv(12) + "[convolutional]\nfilters=12\ngroups=12\nactivation=leaky\n" + conv(8),
    "depthwise": conv(12) + "[depthwise]\nfilters=24\nsize=3\npad=1\nbatch_normalize=1\n" + conv(8),
    "slices": conv(16) + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + conv(8) + "[route]\nlayers=-1,-3\n" + conv(8),
    "first halves": conv(16) + conv(16) + "[route_lhalf]\nlayers=-1,-2\n" + conv(8) + "[route2]\nlayers=-1,0\n",
    "reorg": conv(16) + "[reorg]\nstride=2\n" + conv(8),
    "reorg reversed": conv(16) + "[reorg]\nstride=2\nreverse=1\n" + conv(8),
    "reorg3d": conv(9) + "[reorg3d]\nstride=2\n" + conv(8),
    "antialiasing": conv(9, "stride=2\nantialiasing=1\n") + "[maxpool]\nsize=2\nstride=2\nantialiasing=2\n" + conv(8),
    "shared parameters": conv(9) + conv(9) + conv(9, "share_index=1\n") + "[route]\nlayers=-1,-2\n" + conv(8),
    "cross-channel maximum": conv(12) + conv(12) + "[maxpool]\nmaxpool_depth=1\nout_channels=4\n" + conv(8),
    "pooling": conv(9) + "[maxpool]\nsize=2\n[local_avgpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n" + conv(8),
    "layers of one channel": conv(9)
    + "[batchnorm]\n[activation]\nactivation=elu\n[empty]\n[dropout]\n"
    + conv(8, "", POINT),
    "channels that are normalised": conv(9) + conv(9, "", CONV.replace("leaky", "normalize_channels")) + conv(8),
    "connected": conv(9) + "[connected]\noutput=11\nbatch_normalize=1\nactivation=leaky\n[connected]\noutput=7\n",
    "route of unequal maps": conv(9) + conv(9, "stride=2\n") + "[route]\nlayers=-1,-2\n[connected]\noutput=7\n",
    "local": conv(9) + "[local]\nfilters=3\nsize=3\npad=1\nstride=2\n",
    "deconvolutional": conv(9)
    + "[deconvolutional]\nfilters=9\nsize=4\nstride=2\nbatch_normalize=1\nactivation=relu\n"
    + conv(8),
    "binary": conv(9) + conv(9, "xnor=1\n") + conv(8),
    "flipped": conv(9) + conv(9, "flipped=1\n") + conv(8),
}
STAY = {"cross-channel maximum": 1, "binary": 0, "channels that are normalised": 1, "shared parameters": 0}
# All channels of these layers stay.


def build(name: str) -> Network:
    end = "" if name in ("connected", "route of unequal maps", "local") else HEAD
    return random_networks.network(NET + NETWORKS[name] + end)


@pytest.mark.parametrize("score", ["bn", "l1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_network_with_the_removed_channels_silent(
    name: str, score: str, tmp_path: pathlib.Path
) -> None:
    network = build(name)
    pruned = prune(network, 0.6, min_channels=2, score=score)
    silent = pruned_networks.silence(pruned, network)
    again = prune(silent, 0.6, min_channels=2, score=score)
    assert torch.equal(again.selection.removed, pruned.selection.removed)
    assert again.network.flops < network.flops
    assert pruned_networks.difference(silent, again.network) < 1e-5
    assert pruned_networks.difference(again.network, pruned_networks.through_files(again, tmp_path)) == 0
    if name in STAY:
        assert pruned.network[STAY[name]].shape == network[STAY[name]].shape


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - STAY.keys()))
def test_channels_are_removed_in_front_of_every_layer_that_allows_it(name: str) -> None:
    network = build(name)
    pruned = prune(network, 0.95, min_channels=2)
    assert pruned.network[0].shape.channels < network[0].shape.channels


def groups_of(text: str) -> list[set[int]]:
    """Channels of a network that go together, more than one, by their numbers."""
    groups = trace_channels(random_networks.network(NET + text + HEAD), Score.BN).groups
    members: dict[int, set[int]] = {}
    for channel in range(groups.count):
        members.setdefault(groups.group(channel), set()).add(channel)
    return [group for group in members.values() if len(group) > 1]


def test_groups_by_hand() -> None:
    # The input has the channels 0 to 2, layer 0 from 3 on.
    assert groups_of(conv(2) + conv(2) + "[shortcut]\nfrom=-2\n") == [{3, 5}, {4, 6}]
    assert groups_of(conv(4) + "[route]\nlayers=-1\ngroups=2\n") == [{3, 5}, {4, 6}]
    assert groups_of(conv(4) + conv(2, "groups=2\n")) == [{3, 5}, {4, 6}, {7, 8}]
    assert groups_of(conv(2) + conv(4, "groups=2\n")) == [{3, 5, 6}, {4, 7, 8}]
    assert groups_of(conv(4) + "[reorg]\nstride=2\n") == [{3, 4, 5, 6}]
    assert groups_of(conv(8) + "[reorg]\nstride=2\nreverse=1\n") == [{3, 5, 7, 9}, {4, 6, 8, 10}]
    assert groups_of(conv(3) + "[maxpool]\nsize=2\n") == []


def test_of_layers_that_say_nothing_all_channels_stay() -> None:
    network = random_networks.network(NET + conv(9) + "[normalization]\n" + conv(9) + HEAD)
    pruned = prune(network, 0.5, min_channels=1)
    assert [layer.shape.channels for layer in pruned.network] == [9, 9, 5, 5]
