"""``LearnedValues``, which the ``[implicit]`` sections share, and ``ImplicitVector``, YOLOR's two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..cfg.schema import option
from ._parameters import parameter
from .base import Layer, Shape

_DEVIATION = 0.02  # of the initial values


class LearnedValues(Layer):
    """Returns its weights; the layer before only determines the batch size (https://arxiv.org/abs/2105.04206)."""

    reads_vectors = True

    def __init__(self, options: Layer.Options, x: Shape, shape: Shape) -> None:
        super().__init__(options, x)
        self.shape = shape
        self.weights = parameter(*shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights, [batch, *shape]."""
        return self.weights.expand(x.shape[0], *self.shape)

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights, of the output's shape."""
        yield "weights", self.weights


class ImplicitVector(LearnedValues):
    """One learned value per channel, which starts near ``mean``."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of YOLOR's section."""

        filters: int = option(MISSING, "channels", min=1, max=1048576)

    options: Options
    mean: ClassVar[float]

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x, Shape(options.filters, 1, 1))

    def initialise(self) -> None:
        """Draw from a normal distribution around ``mean``."""
        nn.init.normal_(self.weights, self.mean, _DEVIATION)

    def describe(self) -> str:
        """Channels."""
        return str(self.options.filters)
