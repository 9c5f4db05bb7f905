"""``ChannelGroups``: which channels of a network must be removed together, and which must stay.

A channel of a layer's output is a number. A layer that makes channels of its own adds them, one that passes its input
on returns the input's numbers, and one that combines channels ties their numbers. Channels that are tied form a group,
which is removed as a whole. See ``Layer.channel_groups``.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._norm import Norm

Channels = Tensor  # int64 [channels]: the number of each channel


class Score(enum.StrEnum):
    """The importance of a channel.

    ``BN``: the absolute value of its scale in batch norm (https://arxiv.org/abs/1708.06519).

    ``L1``: the L1 norm of its weights with batch norm folded in (https://arxiv.org/abs/1608.08710), divided by the
    square root of their number, so that layers with larger kernels or more inputs compare with others.
    """

    BN = "bn"
    L1 = "l1"


@dataclass(eq=False)
class Filters:
    """The channels that one layer adds.

    Attributes:
        layer: number of the layer.
        channels: their numbers.
        gain: tensor of the layer's own, [channels, ...], that is set to 0 where the output of a channel becomes a
            constant.
        scores: importance of each channel; NaN: not known.
    """

    layer: int
    channels: Channels
    gain: Tensor
    scores: Tensor


@dataclass(eq=False)
class ChannelGroups:
    """The groups of channels of a network, which its layers fill in their order.

    Attributes:
        score: the importance of channels.
        layer: number of the layer that is asked.
        filters: the channels that can be removed where nothing forbids it, by layer that adds them.
        axes: for each parameter or buffer by its ``id``, the channels along its dimensions.
        keys: for (layer, key of the cfg), the channels whose number is the value.
    """

    score: Score = Score.BN
    layer: int = 0
    filters: list[Filters] = field(default_factory=list)
    axes: dict[int, dict[int, Channels]] = field(default_factory=dict)
    keys: dict[tuple[int, str], Channels] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)
    _kept: set[int] = field(default_factory=set)
    _followers: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self._parents)

    def add(self, weights: Tensor, biases: Tensor, norm: Norm | None) -> Channels:
        """Add the output channels of a layer with weights.

        Args:
            weights: the layer's own, or a view of them, [channels, ...].
            biases: its biases, [channels].
            norm: its batch norm, or None.

        Returns:
            The channels, as those along the biases and the arrays of the norm. They can be removed if they have a
            score; without batch norm they have none by ``Score.BN``.
        """
        channels = self._number(len(biases))
        arrays = (biases, *(tensor for _, tensor in norm.stored())) if norm else (biases,)
        for tensor in arrays:
            self.axis(tensor, 0, channels)
        if self.score is Score.L1:
            folded = norm.fold(weights, biases)[0] if norm else weights
            rows = folded.detach().flatten(1)
            scores = rows.abs().sum(dim=1) / math.sqrt(rows.shape[1])
        else:
            scores = norm.scales.detach().abs() if norm else torch.full_like(biases, math.nan)
        self.filters.append(Filters(self.layer, channels, norm.scales if norm else weights, scores.cpu()))
        return channels

    def add_kept(self, count: int) -> Channels:
        """Add ``count`` channels that stay."""
        channels = self._number(count)
        self.keep(channels)
        return channels

    def axis(self, tensor: Tensor, dim: int, channels: Channels) -> None:
        """Declare what the values along a dimension of a parameter or buffer belong to.

        Where it was declared before, by a layer that shares the tensor, the channels are tied.
        """
        known = self.axes.setdefault(id(tensor), {}).setdefault(dim, channels)
        self.tie(known, channels)

    def key(self, name: str, channels: Channels) -> None:
        """Declare that the value of a key of the layer's section is the number of these channels."""
        self.keys[self.layer, name] = channels

    def keep(self, channels: Channels) -> None:
        """Forbid the removal of channels."""
        self._kept.update(channels.tolist())

    def tie(self, a: Channels, b: Channels) -> None:
        """Tie each channel of ``a`` with that of ``b`` at its position."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            self._parents[self.group(one)] = self.group(other)

    def tie_parts(self, channels: Channels, count: int) -> None:
        """Tie the channels at the same position of ``count`` equal parts, so that the parts stay equal."""
        first, *others = channels.chunk(count)
        for part in others:
            self.tie(first, part)

    def follow(self, a: Channels, b: Channels) -> None:
        """Tie ``a`` with ``b``, which is what the values of ``a`` matter for: they need no score to be removed."""
        self.tie(a, b)
        self._followers.update(a.tolist())

    def group(self, channel: int) -> int:
        """Return the group of a channel, the number of one of its channels."""
        parents = self._parents
        while parents[channel] != channel:
            parents[channel] = parents[parents[channel]]
            channel = parents[channel]
        return channel

    def removable(self) -> dict[int, float]:
        """Return the groups that can be removed, with the highest score of their channels."""
        fixed = {self.group(channel) for channel in self._kept}
        scores: dict[int, float] = {}
        for filters in self.filters:
            for channel, score in zip(filters.channels.tolist(), filters.scores.tolist(), strict=True):
                group = self.group(channel)
                if not math.isnan(score):
                    scores[group] = max(score, scores.get(group, 0.0))
                elif channel not in self._followers:
                    fixed.add(group)
        return {group: score for group, score in scores.items() if group not in fixed}

    def _number(self, count: int) -> Channels:
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return torch.arange(start, start + count, device="cpu")
