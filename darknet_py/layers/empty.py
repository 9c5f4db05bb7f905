"""``[empty]``: the identity."""

from __future__ import annotations

from torch import Tensor

from ._channel_groups import ChannelGroups, Channels
from .base import Layer, Shape, section


@section("empty", "silence")
class Empty(Layer):
    """Counts as a layer and returns its input."""

    dtype_agnostic = True
    reads_vectors = True

    def is_identity(self, *inputs: Shape) -> bool:
        """Always."""
        return True

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` [batch, ...] unchanged."""
        return x

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input."""
        return inputs[0]
