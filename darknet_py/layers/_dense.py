"""``Dense``: a fully connected layer; ``[connected]`` and a part of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._gradient_limit import limit_gradient
from ._norm import Norm, shift_input, without_norm
from ._parameters import he_uniform_, parameter
from ._window import WHOLE_MAP, Window
from .base import Layer, Shape


class Dense(Layer):
    """A fully connected layer; unlike in a convolution, weights precede batch norm in a .weights file."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_connected``."""

        output: int = option(1, "length of the output", min=1, max=16777216)
        activation: Activation = option(Activation.LOGISTIC, "activation after batch norm")
        batch_normalize: int = option(0, "0: biases only, otherwise batch norm", min=0)

    options: Options
    uses_context = True
    reads_vectors = True
    is_part: ClassVar[bool] = True  # of a recurrent layer

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.shape = Shape(options.output, 1, 1)
        self.biases = parameter(options.output)
        self.weights = parameter(options.output, x.floats)
        self.norm = Norm(options.output, cpu_momentum=0.05) if options.batch_normalize else None

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [batch, output, 1, 1] for ``x`` [batch, channels, height, width]."""
        y = F.linear(x.flatten(1), self.used_weights, None if self.norm else self.biases)[:, :, None, None]
        if self.norm:
            y = self.norm(y, self.biases, context)
        y = self.options.activation(y, self.darknet_gradients(context))
        if not (self.is_part and context is not None and context.exact_recurrence):
            limit_gradient(y, context)
        return y

    @property
    def used_weights(self) -> Tensor:
        """The weights [output, inputs] that ``forward`` multiplies by."""
        return self.weights

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Weights [output, inputs] and biases [output] with batch norm folded in."""
        return self.norm.fold(self.weights, self.biases) if self.norm else (self.weights, self.biases)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Each input channel is ``height * width`` columns of the weights."""
        (x,) = inputs
        y = groups.add(self.weights, self.biases, self.norm)
        groups.axis(self.weights, 0, y)
        groups.axis(self.weights, 1, x.repeat_interleave(self.weights.shape[1] // len(x)))
        groups.key("output", y)
        if self.options.activation.mixes_channels:
            groups.keep(y)
        return y

    def absorb(self, x: Tensor) -> None:
        """Exact."""
        shift_input(self.norm, self.biases, F.linear(x.flatten(1), self.weights)[0])

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield biases, weights [output, inputs], batch norm."""
        yield "biases", self.biases
        yield "weights", self.weights.t() if transposed else self.weights
        if self.norm:
            yield from self.norm.stored()

    def loaded(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield what reading a file fills; ``dontloadscales`` excludes batch norm's arrays."""
        arrays = super().loaded(transposed)
        return without_norm(arrays) if self.options.dontloadscales else arrays

    def initialise(self) -> None:
        """Initialise the weights with ``he_uniform_`` and the biases with 0."""
        he_uniform_(self.weights, self.weights.shape[1])
        nn.init.zeros_(self.biases)
        if self.norm:
            self.norm.initialise()

    @property
    def window(self) -> Window:
        """Every cell."""
        return WHOLE_MAP

    def describe(self) -> str:
        """Outputs and activation."""
        return f"{self.options.output} {self.options.activation}"
