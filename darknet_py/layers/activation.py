"""``[activation]``: an activation on its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from .base import Layer, section


@section("activation")
class ActivationLayer(Layer):
    """Computes every activation; C returns zeros for swish, mish and hard_mish outside convolutions."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_activation``."""

        activation: Activation = option(Activation.LINEAR, "activation function")

    options: Options
    uses_context = True
    reads_vectors = True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return the activated ``x``; same shape."""
        return self.options.activation(x, self.darknet_gradients(context))

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, which stay where the activation mixes channels."""
        if self.options.activation.mixes_channels:
            groups.keep(inputs[0])
        return inputs[0]

    def describe(self) -> str:
        """The activation."""
        return str(self.options.activation)
