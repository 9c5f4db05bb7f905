"""``[prelu]``: ReLU with a learnt slope for negative values (https://arxiv.org/abs/1502.01852)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._parameters import parameter
from .base import Layer, Shape, section

_SLOPE = 0.25  # before training


@section("prelu")
class Prelu(Layer):
    """max(0, x) + slope * min(0, x) (``torch.nn.PReLU``), an activation behind a layer with ``activation=linear``."""

    is_darknets = False

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``[prelu]``."""

        shared: bool = option(False, "one slope for all channels instead of one for each")

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.slopes = parameter(1 if options.shared else x.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated ``x`` [batch, channels, height, width]; same shape."""
        return F.prelu(x, self.slopes)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, which have a slope each."""
        if not self.options.shared:
            groups.axis(self.slopes, 0, inputs[0])
        return inputs[0]

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the slopes, one or [channels]."""
        yield "slopes", self.slopes

    def initialise(self) -> None:
        """Set the slopes to 0.25, as in the paper; they have no weight decay."""
        nn.init.constant_(self.slopes, _SLOPE)

    def describe(self) -> str:
        """Whether the slope is shared."""
        return "shared" if self.options.shared else ""
