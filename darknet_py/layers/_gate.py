"""``Gate``: the product of two layers, which ``[scale_channels]`` and ``[sam]`` share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from torch import Tensor

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._join import Join
from .base import resolve_indices


class Gate(Join):
    """The product of the previous layer, which is the gate, and of the layer ``from``, which is the map."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Join.Options):
        """Keys of ``parse_scale_channels`` and ``parse_sam``."""

        from_: int = option(
            MISSING, "number of the layer that is scaled; negative: relative to this one", key="from", layers=True
        )
        activation: Activation = option(Activation.LINEAR, "activation after the product")

        def sources(self, index: int) -> tuple[int, ...]:
            """The layer before and ``from``."""
            return (index - 1, *resolve_indices((self.from_,), index))

    options: Options
    uses_context = True
    dtype_agnostic = True

    def forward(self, gate: Tensor, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return the activated product, of the shape of ``x``."""
        return self.options.activation(gate * x, self.darknet_gradients(context))

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the map, which the gate's follow: where the map is 0, so is the product."""
        gate, x = inputs
        groups.follow(gate, x)
        if self.options.activation.mixes_channels:
            groups.keep(x)
        return x

    def describe(self) -> str:
        """Source and activation."""
        return f"{self.options.from_} {self.options.activation}"
