"""``[batchnorm]``: batch normalisation on its own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..cfg import Dialect
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._norm import Norm
from ._parameters import parameter
from .base import Layer, Shape, section


@section("batchnorm")
class Batchnorm(Layer):
    """AlexeyAB's layer has biases, which come first in a .weights file; pjreddie's has none."""

    uses_context = True

    def __init__(self, options: Layer.Options, x: Shape) -> None:
        super().__init__(options, x)
        self.norm = Norm(x.channels)
        self.biases = parameter(x.channels) if options.dialect is Dialect.ALEXEYAB else None

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]; same shape."""
        biases = torch.zeros_like(self.norm.scales) if self.biases is None else self.biases
        return self.norm.forward(x, biases, context)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, which the arrays have too."""
        for _, tensor in self.stored():
            groups.axis(tensor, 0, inputs[0])
        return inputs[0]

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield biases, if any, and batch norm."""
        if self.biases is not None:
            yield "biases", self.biases
        yield from self.norm.stored()

    def initialise(self) -> None:
        """Set the biases to 0."""
        if self.biases is not None:
            nn.init.zeros_(self.biases)
        self.norm.initialise()
