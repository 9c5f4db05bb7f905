"""``[deconvolutional]``: transposed convolution (pjreddie)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._norm import Norm, shift_input
from ._parameters import he_uniform_, parameter
from ._window import Window
from .base import Layer, Shape, section


@section("deconvolutional", "deconv")
class Deconvolutional(Layer):
    """Weights are [channels, filters, size, size]. C cannot load them; .weights files have a convolution's order."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_deconvolutional``."""

        filters: int = option(1, "output channels", min=1, max=1048576)
        size: int = option(1, "side of the square kernel", min=1, max=1024)
        stride: int = option(1, "distance of the input cells in the output", min=1, max=65536)
        pad: bool = option(False, "crop size / 2 cells off every side; padding is ignored")
        padding: int = option(0, "cells cropped off every side", min=0, max=65536)
        activation: Activation = option(Activation.LOGISTIC, "activation after batch norm")
        batch_normalize: int = option(0, "0: biases only, otherwise batch norm", min=0)

    options: Options
    uses_context = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self._cells = x.height * x.width
        self.padding = options.size // 2 if options.pad else options.padding
        height, width = ((n - 1) * options.stride + options.size - 2 * self.padding for n in x[1:])
        self.shape = Shape(options.filters, height, width)
        if min(self.shape) < 1:
            raise ValueError(f"padding={self.padding} crops the whole output")
        self.biases = parameter(options.filters)
        self.norm = Norm(options.filters) if options.batch_normalize else None
        self.weights = parameter(x.channels, options.filters, options.size, options.size)

    @property
    def workspace(self) -> int:
        """PyTorch multiplies matrices: a kernel's window of each filter for each cell of the input."""
        return self.weights.shape[1:].numel() * self._cells

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [batch, filters, ...] for ``x`` [batch, channels, height, width]."""
        biases = None if self.norm else self.biases
        y = F.conv_transpose2d(x, self.weights, biases, self.options.stride, self.padding)
        if self.norm:
            y = self.norm(y, self.biases, context)
        return self.options.activation(y, self.darknet_gradients(context))

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the weights [channels, filters, size, size]."""
        y = groups.add(self.weights.transpose(0, 1), self.biases, self.norm)
        groups.axis(self.weights, 0, inputs[0])
        groups.axis(self.weights, 1, y)
        groups.key("filters", y)
        if self.options.activation.mixes_channels:
            groups.keep(y)
        return y

    def absorb(self, x: Tensor) -> None:
        """Exact for kernels of one value: other kernels reach each cell of the output with other values."""
        y = F.conv_transpose2d(x, self.weights, None, self.options.stride, self.padding)
        shift_input(self.norm, self.biases, y[0].flatten(1).mean(dim=1))

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Weights [channels, filters, size, size] and biases [filters] with batch norm folded in."""
        if self.norm is None:
            return self.weights, self.biases
        weights, biases = self.norm.fold(self.weights.transpose(0, 1), self.biases)
        return weights.transpose(0, 1), biases

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield biases, batch norm, weights."""
        yield "biases", self.biases
        if self.norm:
            yield from self.norm.stored()
        yield "weights", self.weights

    def initialise(self) -> None:
        """Initialise the weights with ``he_uniform_`` and the biases with 0."""
        he_uniform_(self.weights, self.weights.shape[0] * self.options.size**2)
        nn.init.zeros_(self.biases)
        if self.norm:
            self.norm.initialise()

    @property
    def window(self) -> Window:
        """The input cells that reach one output cell: at most every stride-th cell of the kernel."""
        size, stride = self.options.size, self.options.stride
        return Window(-(-size // stride), -(-size // stride), 1 / stride, 1 / stride)

    def describe(self) -> str:
        """Filters, kernel, stride."""
        options = self.options
        return f"{options.filters} {options.size}x{options.size}/{options.stride} {options.activation}"
