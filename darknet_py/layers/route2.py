"""``[route2]``: earlier outputs concatenated; the gradient reaches the first only (PyTorch_YOLOv4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from ._concatenate import Concatenate
from .base import section


@section("route2", "route3")
class Route2(Concatenate):
    """``[route]`` at inference; two layers in ``[route2]``, three in ``[route3]``."""

    is_darknets = False

    dtype_agnostic = True

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate ``inputs`` [batch, channels, height, width]; all but the first are detached."""
        return torch.cat([inputs[0], *(x.detach() for x in inputs[1:])], dim=1)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the inputs."""
        return torch.cat(inputs)
