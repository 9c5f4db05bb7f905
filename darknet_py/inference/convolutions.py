"""Convolutions done again: the norm folded in, bias and activation in one go, the sum behind them taken along.

On CPUs it is the oneDNN operator that torch.compile emits: weights packed once, bias and activation
applied before the result leaves the registers. It needs no compiling. Where torch has no such operator, and
on other devices, it is a convolution with the activation in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..layers import Shape
from ..layers._blur import blur
from ..layers.convolutional import Convolutional
from .inplace import in_place, mish_of_negative_, nothing

_Post = tuple[str, list[float], str]  # name, numbers and algorithm of an activation in oneDNN

_ONEDNN: dict[Activation, _Post] = {
    Activation.LINEAR: ("none", [], ""),
    Activation.LEAKY: ("leaky_relu", [0.1], ""),
    Activation.REVLEAKY: ("leaky_relu", [0.1], ""),
    Activation.RELIE: ("leaky_relu", [0.01], ""),
    Activation.RELU: ("relu", [], ""),
    Activation.RELU6: ("hardtanh", [0.0, 6.0], ""),
    Activation.HARDTAN: ("hardtanh", [-1.0, 1.0], ""),
    Activation.SWISH: ("swish", [], ""),
    Activation.LOGISTIC: ("sigmoid", [], ""),
    Activation.TANH: ("tanh", [], ""),
}


@dataclass(frozen=True)
class Target:
    """What steps are made for: the numbers they compute with, and whether oneDNN's operators are there."""

    dtype: torch.dtype
    device: torch.device
    packed: bool


def has_onednn() -> bool:
    """Whether this torch can run a convolution with an activation in oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight"))


class Convolution(nn.Module):
    """A ``Convolutional`` with its norm folded in, and the sum behind it where ``after`` is given.

    ``after``: the activation that follows the sum with the second argument of ``forward``.
    """

    weights: Tensor
    biases: Tensor

    def __init__(self, layer: Convolutional, x: Shape, target: Target, after: Activation | None) -> None:
        super().__init__()
        options = layer.options
        self.activate = in_place(options.activation)
        self.activate_sum = None if after is None else in_place(after)
        self.blur, self.blur_strides = options.antialiasing, layer.strides
        strides = (1, 1) if options.antialiasing else layer.strides
        padding = options.padding * options.dilation
        self.geometry = ((padding, padding), strides, (options.dilation, options.dilation), options.groups)
        weights, biases = self._numbers(layer)
        self.register_buffer("weights", self._laid_out(weights.detach().to(target.dtype), x, target), persistent=False)
        self.register_buffer("biases", biases.detach().to(target.dtype), persistent=False)

    def _numbers(self, layer: Convolutional) -> tuple[Tensor, Tensor]:
        return (layer.owner[0] if layer.owner else layer).folded()

    def _laid_out(self, weights: Tensor, x: Shape, target: Target) -> Tensor:
        return weights.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, ...]."""
        y = self.activate(self.convolved(x))
        y = blur(y, self.blur, self.blur_strides) if self.blur else y
        return y if self.activate_sum is None else self.activate_sum(y.add_(added[0]))

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution alone, in memory of its own."""
        padding, strides, dilation, groups = self.geometry
        return F.conv2d(x, self.weights, self.biases, strides, padding, dilation, groups)


class Dense(Convolution):
    """The same for a 1x1 kernel on a map of one cell, as in squeeze-and-excitation: a matrix product."""

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution alone, in memory of its own."""
        if x.shape[2:] != (1, 1):
            return super().convolved(x)
        return F.linear(x.flatten(1), self.weights.flatten(1), self.biases)[:, :, None, None]


class Packed(Convolution):
    """The same by oneDNN's fused operator."""

    def __init__(self, layer: Convolutional, x: Shape, target: Target, after: Activation | None) -> None:
        super().__init__(layer, x, target, after)
        activation = layer.options.activation
        self.post = _ONEDNN.get(activation, _ONEDNN[Activation.LINEAR])
        if activation in _ONEDNN:
            self.activate = nothing
        elif activation is Activation.MISH:
            self.activate = mish_of_negative_
        # oneDNN adds before the activation, so nothing may stand before the sum.
        self.adds = after is not None and activation is Activation.LINEAR and not self.blur
        if self.adds and after is Activation.RELU:
            self.activate_sum = nothing
        self.post_of_sum = "relu" if after is Activation.RELU else None

    def _numbers(self, layer: Convolutional) -> tuple[Tensor, Tensor]:
        weights, biases = super()._numbers(layer)
        return (-weights, -biases) if layer.options.activation is Activation.MISH else (weights, biases)

    def _laid_out(self, weights: Tensor, x: Shape, target: Target) -> Tensor:
        weights = super()._laid_out(weights, x, target)
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weights, *self.geometry, [1, *x])
        return packed

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, ...]."""
        if not self.adds or self.activate_sum is None:
            return super().forward(x, *added)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, added[0], self.weights, self.biases, *self.geometry, "add", 1.0, self.post_of_sum, [], None
        )
        return self.activate_sum(y)

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution with its activation, where oneDNN has that one; negated before mish."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weights, self.biases, *self.geometry, *self.post)
        return y
