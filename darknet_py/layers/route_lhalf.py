"""``[route_lhalf]``: the first half of the channels of earlier outputs, concatenated (PyTorch_YOLOv4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from ._concatenate import Concatenate
from .base import Shape, section


@section("route_lhalf")
class RouteLhalf(Concatenate):
    """``[route]`` with ``groups=2`` and ``group_id=0``, for which PyTorch_YOLOv4 has a section of its own."""

    is_darknets = False

    dtype_agnostic = True

    def __init__(self, options: Concatenate.Options, *inputs: Shape) -> None:
        super().__init__(options, *inputs)
        self.shape = inputs[0]._replace(channels=sum(x.channels // 2 for x in inputs))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate the first halves of ``inputs`` [batch, channels, height, width]."""
        return torch.cat([x[:, : x.shape[1] // 2] for x in inputs], dim=1)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the first halves; the halves of an input keep equal numbers of channels, an odd number stays."""
        for x in inputs:
            if len(x) % 2:
                groups.keep(x)
            else:
                groups.tie_parts(x, 2)
        return torch.cat([x[: len(x) // 2] for x in inputs])
