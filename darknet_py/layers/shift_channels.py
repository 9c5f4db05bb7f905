"""``[shift_channels]``: a vector added to every cell of a map (YOLOR, https://arxiv.org/abs/2105.04206)."""

from __future__ import annotations

from torch import Tensor

from ._channels import Channels
from .base import section


@section("shift_channels")
class ShiftChannels(Channels):
    """The formula of YOLOR's PyTorch code; no Darknet has the section."""

    is_darknets = False

    dtype_agnostic = True

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return ``x + vector`` for ``x`` [batch, channels, height, width]; same shape."""
        return x + vector
