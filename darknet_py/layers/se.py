"""``[se]``: squeeze-and-excitation with a hard sigmoid (SpursLipu's YOLOv3v4-ModelCompression)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg.schema import option
from ._parameters import he_uniform_, parameter
from ._window import WHOLE_MAP, Window
from .base import Layer, Shape, section


class _Matrix(nn.Module):
    """Weights [outputs, inputs] without biases."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weights = parameter(outputs, inputs)


@section("se")
class Se(Layer):
    """x * hsigmoid(W2 relu(W1 mean(x))), without biases (https://arxiv.org/abs/1709.01507, https://arxiv.org/abs/1905.02244)."""

    is_darknets = False

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of SpursLipu's PyTorch code; no Darknet has the section."""

        filters: int = option(0, "channels, which must be those of the input; 0: these", min=0, max=1048576)
        reduction: int = option(4, "ratio of the channels to the values between the matrices", min=1, max=1048576)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if options.filters not in (0, x.channels):
            raise ValueError(f"filters: expected {x.channels}, the input's channels, got {options.filters}")
        inner = x.channels // options.reduction
        if inner < 1:
            raise ValueError(f"reduction: expected at most {x.channels}, the input's channels, got {options.reduction}")
        self.squeeze = _Matrix(inner, x.channels)
        self.expand = _Matrix(x.channels, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of ``x`` [batch, channels, height, width]; same shape."""
        y = F.relu(F.linear(x.mean(dim=(2, 3)), self.squeeze.weights))
        return x * Activation.HSIGMOID(F.linear(y, self.expand.weights))[:, :, None, None]

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield both matrices, [channels / reduction, channels] and [channels, channels / reduction]."""
        yield "squeeze.weights", self.squeeze.weights
        yield "expand.weights", self.expand.weights

    def initialise(self) -> None:
        """Initialise the matrices with ``he_uniform_``."""
        for matrix in (self.squeeze, self.expand):
            he_uniform_(matrix.weights, matrix.weights.shape[1])

    @property
    def window(self) -> Window:
        """Every cell."""
        return WHOLE_MAP

    def describe(self) -> str:
        """Reduction."""
        return f"/{self.options.reduction}"
