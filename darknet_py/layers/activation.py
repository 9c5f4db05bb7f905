"""``[activation]``: an activation on its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..activations import Activation as Kind
from ..cfg.schema import option
from ._context import StepContext
from .base import Layer, section


@section("activation")
class Activation(Layer):
    """Every activation works here; C gives zeros for swish, mish and hard_mish outside convolutions."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_activation``."""

        activation: Kind = option(Kind.LINEAR, "the function")

    options: Options
    uses_context = True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Shape kept."""
        return self.options.activation(x, self.darknet_gradients(context))

    def describe(self) -> str:
        """The function."""
        return str(self.options.activation)
