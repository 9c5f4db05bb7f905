"""``[cost]``: the loss of a classifier or regressor; nothing at inference."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from torch import Tensor

from ..schema import option
from .base import Layer, section


class CostType(enum.StrEnum):
    """What ``type=`` may say."""

    SSE = "sse"
    MASKED = "masked"
    SMOOTH = "smooth"
    L1 = "L1"
    SEG = "seg"
    WGAN = "wgan"


@section("cost")
class Cost(Layer):
    """Passes its input on, so that it is the network's output (``get_network_output`` skips costs)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_cost``; the last two are pjreddie's."""

        type: CostType = option(CostType.SSE, "how the difference to the truth counts", train=True)
        scale: float = option(1.0, "factor on the gradient", train=True)
        ratio: float = option(0.0, "share of the smallest gradients that is dropped", train=True)
        noobj: float = option(1.0, "factor where the truth is 0 (pjreddie)", train=True)
        thresh: float = option(0.0, "gradients below are dropped (pjreddie)", train=True)

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x

    def describe(self) -> str:
        """The kind."""
        return str(self.options.type)
