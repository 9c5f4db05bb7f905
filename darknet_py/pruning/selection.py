"""Which channels and residual units of a network to remove, by their scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..layers import ChannelGroups, Channels, Score
from ..network import INPUT, Network

_ROUNDING = 1e-6  # of a ratio that is given in decimals, times the number of channels


@dataclass(frozen=True, eq=False)
class Trace:
    """The channels of a network.

    Attributes:
        groups: which of them go together.
        outputs: the channels of each layer's output, by number of the layer; those of the input under ``INPUT``.
    """

    groups: ChannelGroups
    outputs: dict[int, Channels]


@dataclass(frozen=True, eq=False)
class ChannelSelection:
    """The channels to remove.

    Attributes:
        removed: bool, whether each channel is removed, by its number.
        threshold: the highest score of a group that was to be removed; 0: none.
        scores: the scores of all channels that can be removed.
        goes: whether each of these is removed.
    """

    removed: Tensor
    threshold: float
    scores: Tensor
    goes: Tensor


def trace_channels(network: Network, score: Score) -> Trace:
    """Ask the layers of a network for their channels; those of the network's outputs stay."""
    groups = ChannelGroups(score)
    outputs = {INPUT: groups.add_kept(network.shape.channels)}
    for index, layer in enumerate(network):
        groups.layer = index
        outputs[index] = layer.channel_groups(groups, *(outputs[source] for source in network.sources[index]))
    for index in network.outputs:
        groups.keep(outputs[index])
    return Trace(groups, outputs)


def select_channels(groups: ChannelGroups, ratio: float, min_channels: int) -> ChannelSelection:
    """Choose the groups with the lowest scores.

    Args:
        groups: the channels of a network.
        ratio: share of the channels that can be removed, 0..1. Groups are taken in the order of their scores as long as
            their channels are not more than that.
        min_channels: channels that every layer keeps; a group whose removal would leave fewer stays.
    """
    removable = groups.removable()
    members: dict[int, list[tuple[int, int]]] = {group: [] for group in removable}  # (index of the layer, channel)
    scored: list[tuple[int, float]] = []
    for index, filters in enumerate(groups.filters):
        for channel, score in zip(filters.channels.tolist(), filters.scores.tolist(), strict=True):
            if (group := groups.group(channel)) in members:
                members[group].append((index, channel))
                if not math.isnan(score):
                    scored.append((channel, score))
    left = [len(filters.channels) for filters in groups.filters]
    removed = torch.zeros(groups.count, dtype=torch.bool, device="cpu")
    budget = math.floor(ratio * sum(map(len, members.values())) + _ROUNDING)
    threshold = 0.0
    for group in sorted(removable, key=lambda group: (removable[group], group)):
        budget -= len(members[group])
        if budget < 0:
            break
        threshold = removable[group]
        lost = [index for index, _ in members[group]]
        if all(left[index] - lost.count(index) >= min_channels for index in set(lost)):
            for index, channel in members[group]:
                left[index] -= 1
                removed[channel] = True
    goes = removed[[channel for channel, _ in scored]]
    return ChannelSelection(removed, threshold, torch.tensor([score for _, score in scored], device="cpu"), goes)
