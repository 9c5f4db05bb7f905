"""``[normalization]``: local response normalisation across channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._context import StepContext
from .base import Layer, section


@section("normalization", "lrn")
class Normalization(Layer):
    """Differs from torch's LocalResponseNorm: alpha multiplies the sum, not the mean, and one square is missing.

    ``normalization_layer.c`` starts its running sum one term short, so that the square of channel
    size / 2 is missing in every window (docs/oddities.md).
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_normalization``."""

        alpha: float = option(0.0001, "factor of the sum of squares")
        beta: float = option(0.75, "exponent")
        kappa: float = option(1.0, "added to the sum")
        size: int = option(5, "channels in a window", min=1, max=65536)

    options: Options
    uses_context = True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]; same shape."""
        options = self.options
        before, after = (options.size - 1) // 2, options.size // 2
        squares = x.square()
        padded = F.pad(squares, (0, 0, 0, 0, before, after))
        sums = padded.unfold(1, before + after + 1, 1).sum(dim=-1)
        if after < x.shape[1]:
            sums = sums - squares[:, after : after + 1]
        factor = (options.kappa + options.alpha * sums) ** -options.beta
        # C's gradient treats the factor as a constant ("this is approximate").
        return x * (factor.detach() if self.darknet_gradients(context) else factor)

    def describe(self) -> str:
        """Channels in a window."""
        return f"size {self.options.size}"
