"""``[route]``: earlier outputs concatenated along the channels, or a slice of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._concatenate import Concatenate
from ._join import Join
from ._window import WHOLE_MAP, Window
from .base import Flattened, Shape, section


@section("route")
class Route(Join):
    """With ``groups`` each source is sliced before the concatenation."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Concatenate.Options):
        """Keys of ``parse_route``."""

        groups: int = option(1, "number of slices of each source", min=1, max=1048576)
        group_id: int = option(0, "number of the slice that is used", min=0, max=1048576)

    options: Options
    dtype_agnostic = True
    reads_vectors = True

    def __init__(self, options: Options, *inputs: Shape) -> None:
        super().__init__(options, *inputs)
        if not 0 <= options.group_id < options.groups:
            raise ValueError(f"group_id: expected 0..{options.groups - 1}, got {options.group_id}")
        if any(x.channels % options.groups for x in inputs):
            raise ValueError(
                f"groups={options.groups}: expected a divisor of the channels {[x.channels for x in inputs]}"
            )
        # Maps of different sizes are concatenated as flat vectors, which fully connected layers can read.
        self.flat = len({x[1:] for x in inputs}) > 1 or any(isinstance(x, Flattened) for x in inputs)
        if self.flat and options.groups > 1:
            raise ValueError("groups: expected layers of equal width and height")
        self._floats = [x.floats for x in inputs]
        channels = sum(x.channels // options.groups for x in inputs)
        flattened = Flattened(sum(x.floats for x in inputs), 1, 1)
        self.shape = flattened if self.flat else inputs[0]._replace(channels=channels)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate ``inputs`` [batch, channels, height, width] along the channels."""
        if self.flat:
            return torch.cat([x.flatten(1) for x in inputs], dim=1)[:, :, None, None]
        groups, group = self.options.groups, self.options.group_id
        parts = inputs if groups == 1 else [x.chunk(groups, dim=1)[group] for x in inputs]
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the inputs; the slices of one keep equal numbers of channels, and a vector has one per value."""
        count, group = self.options.groups, self.options.group_id
        for x in inputs:
            groups.tie_parts(x, count)
        if self.flat:
            return torch.cat(
                [x.repeat_interleave(floats // len(x)) for x, floats in zip(inputs, self._floats, strict=True)]
            )
        return torch.cat([x.chunk(count)[group] for x in inputs])

    def is_identity(self, *inputs: Shape) -> bool:
        """With one source that is not sliced."""
        return len(inputs) == 1 and self.options.groups == 1

    @property
    def window(self) -> Window:
        """One cell, or every cell of maps that are concatenated as vectors."""
        return WHOLE_MAP if self.flat else Window()

    def describe(self) -> str:
        """Sources and slice."""
        text = " ".join(map(str, self.options.layers))
        return text if self.options.groups == 1 else f"{text} part {self.options.group_id}/{self.options.groups}"
