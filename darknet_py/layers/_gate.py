"""``Gate``: the product of two layers, which ``[scale_channels]`` and ``[sam]`` share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from torch import Tensor

from ..activations import Activation
from ..cfg.schema import option
from ._context import StepContext
from ._join import Join
from .base import absolute


class Gate(Join):
    """The layer before is the gate; the layer named is the map that passes it."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Join.Options):
        """Keys of ``parse_scale_channels`` and ``parse_sam``."""

        from_: int = option(MISSING, "number of the layer that is scaled; negative: counted back", key="from")
        activation: Activation = option(Activation.LINEAR, "what follows the product")

        def sources(self, index: int) -> tuple[int, ...]:
            """The layer before and the layer named."""
            return (index - 1, *absolute((self.from_,), index))

    options: Options
    uses_context = True
    dtype_agnostic = True

    def forward(self, gate: Tensor, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Their product, of the shape of ``x``."""
        return self.options.activation(gate * x, self.darknet_gradients(context))

    def describe(self) -> str:
        """The layer named."""
        return f"{self.options.from_} {self.options.activation}"
