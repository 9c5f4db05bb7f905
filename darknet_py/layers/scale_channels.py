"""``[scale_channels]``: the gate of squeeze-and-excitation (https://arxiv.org/abs/1709.01507)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import Gradients, StepContext
from ._gate import Gate
from .base import Shape, section


@section("scale_channels")
class ScaleChannels(Gate):
    """A gate with one value per channel, or with ``scale_wh`` one per cell, scales the map."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Gate.Options):
        """Keys of ``parse_scale_channels``."""

        scale_wh: bool = option(False, "the gate has one value per cell, not per channel")

    options: Options
    uses_context = True
    dtype_agnostic = True

    def __init__(self, options: Options, gate: Shape, x: Shape) -> None:
        super().__init__(options, gate, x)
        expected = Shape(1, x.height, x.width) if options.scale_wh else Shape(x.channels, 1, 1)
        if gate != expected:
            raise ValueError(f"expected a gate of {expected.describe()}, got {gate.describe()} from the layer before")
        self.shape = x

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """As in ``Gate``; the only channel of a gate per cell stays."""
        gate, x = inputs
        if self.options.scale_wh:
            groups.keep(gate)
            gate = x
        return super().channel_groups(groups, gate, x)

    def forward(self, gate: Tensor, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return the activated product, of the shape of ``x``.

        With ``scale_wh``, C's GPU code divides the gradient of the gate by the number of cells.
        """
        if (
            self.options.scale_wh
            and self.darknet_gradients(context)
            and context
            and context.gradients is not Gradients.DARKNET_CPU
        ):
            scaled = gate / (self.shape.height * self.shape.width)
            gate = scaled + (gate - scaled).detach()
        return super().forward(gate, x, context)
