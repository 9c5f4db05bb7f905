"""``[local]``: a locally connected layer, a convolution with separate filters at every position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._parameters import he_uniform_, parameter
from ._window import Window
from .base import Layer, Shape, section


@section("local")
class Local(Layer):
    """``pad=1`` is one cell of zeros for any size, and every output value has its own bias."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_local``."""

        filters: int = option(1, "output channels", min=1, max=1048576)
        size: int = option(1, "side of the square kernel", min=1, max=1024)
        stride: int = option(1, "step", min=1, max=65536)
        pad: bool = option(False, "one cell of zeros on every side")
        activation: Activation = option(Activation.LOGISTIC, "activation")

    options: Options
    uses_context = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        # With pad, the C code allocates (n - 1) / stride + 1 rows, which its loop fills only for size 3.
        lost = 1 if options.pad else options.size
        height, width = ((n - lost) // options.stride + 1 for n in x[1:])
        self.shape = Shape(options.filters, height, width)
        if min(self.shape) < 1:
            raise ValueError(
                f"a {options.size}x{options.size} kernel does not fit into a map of {x.width} x {x.height}"
            )
        self.biases = parameter(*self.shape)
        self.weights = parameter(height * width, options.filters, x.channels * options.size**2)

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [batch, filters, ...] for ``x`` [batch, channels, height, width]."""
        return self.options.activation(self._sums(x) + self.biases, self.darknet_gradients(context))

    def _sums(self, x: Tensor) -> Tensor:
        """The products of weights and windows, [batch, filters, ...], before the biases."""
        options = self.options
        _, height, width = self.shape
        if options.pad:
            reach = [
                (n - 1) * options.stride + options.size - size - 1
                for n, size in ((width, x.shape[3]), (height, x.shape[2]))
            ]
            x = F.pad(x, (1, reach[0], 1, reach[1]))
        columns = F.unfold(x, options.size, stride=options.stride)
        # A product for each position, of [filters, values of a window] and [values of a window, batch].
        sums = torch.bmm(self.weights, columns.permute(2, 1, 0)).permute(2, 1, 0)
        return sums.reshape(-1, self.shape.channels, height, width)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """The filters stay; each input channel is ``size * size`` columns of the weights."""
        groups.axis(self.weights, 2, inputs[0].repeat_interleave(self.options.size**2))
        return groups.add_kept(self.shape.channels)

    def absorb(self, x: Tensor) -> None:
        """Exact: every position has biases of its own."""
        self.biases.add_(self._sums(x)[0])

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield biases [filters, height, width] and weights [height * width, filters, channels * size * size]."""
        yield "biases", self.biases
        yield "weights", self.weights

    def initialise(self) -> None:
        """Initialise the weights with ``he_uniform_`` and the biases with 0."""
        he_uniform_(self.weights, self.weights.shape[2])
        nn.init.zeros_(self.biases)

    @property
    def window(self) -> Window:
        """The kernel."""
        options = self.options
        return Window(options.size, options.size, options.stride, options.stride)

    def describe(self) -> str:
        """Filters, kernel, stride."""
        options = self.options
        return f"{options.filters} {options.size}x{options.size}/{options.stride} {options.activation}"
