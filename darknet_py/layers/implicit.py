"""``[implicit]``: learnable values that do not depend on the image (https://arxiv.org/abs/2105.04206)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..cfg.schema import option
from ._implicit import LearnedValues
from .base import Layer, Shape, section


@section("implicit")
class Implicit(LearnedValues):
    """``filters`` channels of ``atoms`` rows; the layer before only determines the batch size."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_implicit``."""

        filters: int = option(128, "channels", min=1, max=1048576)
        atoms: int = option(1, "rows", min=1, max=1048576)
        mean: float = option(0.0, "mean of the initial values", train=True)
        std: float = option(0.2, "half the range of the initial values", train=True, min=0)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x, Shape(options.filters, options.atoms, 1))

    def initialise(self) -> None:
        """Draw from mean +- std uniformly."""
        nn.init.uniform_(self.weights, self.options.mean - self.options.std, self.options.mean + self.options.std)

    def describe(self) -> str:
        """Channels and rows."""
        return f"{self.options.filters} x {self.options.atoms}"
