"""The steps of an optimised network: layers done again so that fewer bytes move.

A step is a module that is called as its layer is and gives the same numbers up to rounding. On CPUs a
convolution is the oneDNN operator that torch.compile emits: its weights packed once, bias and activation
applied before the result leaves the registers. It needs no compiling. Where torch has no such operator, and
on other devices, a step is a convolution with the norm folded in and the activation in place.

Maps are in channels_last order throughout: the order that oneDNN and tensor cores want.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg import Dialect
from ..layers import Layer, Shape
from ..layers._blur import blur
from ..layers.avgpool import Avgpool
from ..layers.convolutional import Convolutional
from ..layers.dropout import Dropout
from ..layers.empty import Empty
from ..layers.maxpool import Maxpool
from ..layers.reorg import Reorg
from ..layers.route import Route
from ..layers.sam import Sam
from ..layers.scale_channels import ScaleChannels
from ..layers.shortcut import Shortcut
from ..layers.upsample import Upsample

_TILE = 1 << 17  # floats of a map that stay in the second-level cache while mish goes over them
_SEPARATE = 5  # side of a window from which two passes along the axes are faster than one
# Layers that move, compare, add or multiply, which any kind of float does well enough.
_ANY_DTYPE = (Avgpool, Dropout, Empty, Maxpool, Reorg, Route, Sam, ScaleChannels, Shortcut, Upsample)
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


def mish_(y: Tensor) -> Tensor:
    """Mish in place, piece by piece: x - 2 x / ((1 + e^x)^2 + 1), a quarter of the time of ``F.mish``.

    ``y``: a map in channels_last order. An e^x that overflows gives x, as it should.
    """
    if y.device.type != "cpu" or torch.compiler.is_compiling():
        return F.mish(y, inplace=True)
    one = torch.ones(())
    for tile in y.permute(0, 2, 3, 1).reshape(-1).split(_TILE):
        x = tile.float()
        e = x.exp().add_(1)
        torch.addcmul(one, e, e, out=e)
        x.addcdiv_(x, e, value=-2)
        if x is not tile:
            tile.copy_(x)
    return y


_IN_PLACE: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.LINEAR: lambda y: y,
    Activation.LEAKY: lambda y: F.leaky_relu_(y, 0.1),
    Activation.REVLEAKY: lambda y: F.leaky_relu_(y, 0.1),
    Activation.RELU: F.relu_,
    Activation.SWISH: lambda y: F.silu(y, inplace=True),
    Activation.LOGISTIC: Tensor.sigmoid_,
    Activation.TANH: Tensor.tanh_,
    Activation.MISH: mish_,
}


def activated(y: Tensor, activation: Activation) -> Tensor:
    """``activation(y)``, which may overwrite ``y``."""
    return _IN_PLACE.get(activation, activation)(y)


class Convolution(nn.Module):
    """A ``Convolutional`` with its norm folded in, and the sum behind it where ``after`` is given.

    ``after``: the activation that follows the sum with the second argument of ``forward``.
    """

    weights: Tensor
    biases: Tensor

    def __init__(self, layer: Convolutional, x: Shape, target: Target, after: Activation | None) -> None:
        super().__init__()
        options = layer.options
        self.activation, self.after = options.activation, after
        self.blur, self.blur_strides = options.antialiasing, layer.strides
        strides = (1, 1) if options.antialiasing else layer.strides
        padding = options.padding * options.dilation
        self.geometry = ((padding, padding), strides, (options.dilation, options.dilation), options.groups)
        weights, biases = (layer.owner[0] if layer.owner else layer).folded()
        self.register_buffer("weights", self._laid_out(weights.detach().to(target.dtype), x, target), persistent=False)
        self.register_buffer("biases", biases.detach().to(target.dtype), persistent=False)

    def _laid_out(self, weights: Tensor, x: Shape, target: Target) -> Tensor:
        return weights.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, ...]."""
        y = activated(self.convolved(x), self.activation)
        y = blur(y, self.blur, self.blur_strides) if self.blur else y
        return y if self.after is None else activated(y.add_(added[0]), self.after)

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
        self.post = _ONEDNN[Activation.LINEAR]
        if self.activation in _ONEDNN:
            self.post, self.activation = _ONEDNN[self.activation], Activation.LINEAR
        # oneDNN adds before the activation, so nothing may stand before the sum.
        self.adds = after is not None and layer.options.activation is Activation.LINEAR and not self.blur

    def _laid_out(self, weights: Tensor, x: Shape, target: Target) -> Tensor:
        weights = super()._laid_out(weights, x, target)
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weights, *self.geometry, [1, *x])
        return packed

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, ...]."""
        if not self.adds or self.after is None:
            return super().forward(x, *added)
        unary, rest = ("relu", Activation.LINEAR) if self.after is Activation.RELU else (None, self.after)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, added[0], self.weights, self.biases, *self.geometry, "add", 1.0, unary, [], None
        )
        return activated(y, rest)

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution with its activation, where oneDNN has that one."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weights, self.biases, *self.geometry, *self.post)
        return y


class Pool(nn.Module):
    """A ``Maxpool`` that copies no edges, and takes large windows that step by 1 as rows, then columns."""

    def __init__(self, layer: Maxpool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the largest values."""
        size, strides, before = self.layer.options.size, self.layer.strides, self.layer.options.padding // 2
        count = self.layer.pooled(Shape(*x.shape[1:]), strides)[1:]
        even = tuple((n + 2 * before - size) // step + 1 for n, step in zip(x.shape[2:], strides, strict=True))
        if even != count or 2 * before > size:
            pooled: Tensor = self.layer(x)
            return pooled
        if size < _SEPARATE or strides != (1, 1):
            return F.max_pool2d(x, size, strides, before)
        return F.max_pool2d(F.max_pool2d(x, (size, 1), 1, (before, 0)), (1, size), 1, (0, before))


class Island(nn.Module):
    """A layer that computes in float32 amid others that do not; ``dtype``: of what it returns."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the layer returns."""
        y: Tensor = self.layer(*(x.float() for x in inputs))
        return y.to(self.dtype)


def sum_of(layer: Layer, *inputs: Shape) -> Activation | None:
    """The activation of a layer that does nothing before it but add two maps of one shape, else None."""
    if type(layer) is not Shortcut or layer.weights is not None or len(inputs) != 2 or inputs[0] != inputs[1]:
        return None
    options = layer.options
    plain = options.dialect is not Dialect.PJREDDIE or options.alpha == options.beta == 1
    return options.activation if plain else None


def is_convolution(layer: Layer) -> bool:
    """Whether a ``Convolution`` can stand for the layer."""
    return type(layer) is Convolutional and not layer.options.xnor


def fuse(layer: Layer, x: Shape, target: Target, *, after: Activation | None = None, last: bool = False) -> nn.Module:
    """The step for a layer that reads ``x``; the layer itself where nothing can be gained.

    ``after``: for a convolution that takes the sum behind it along. ``last``: the output leaves the network.
    A layer of a class of the user's own is never replaced.
    """
    if type(layer) is Convolutional and is_convolution(layer):
        if x[1:] == (1, 1) and layer.options.size == layer.options.groups == 1 and not layer.options.padding:
            return Dense(layer, x, target, after)
        return (Packed if target.packed else Convolution)(layer, x, target, after)
    if type(layer) is Maxpool and not layer.options.maxpool_depth and not layer.options.antialiasing:
        return Pool(layer)
    if type(layer) in (Dropout, Empty):
        return nn.Identity()
    precise = type(layer) not in _ANY_DTYPE or next(layer.parameters(), None) is not None
    if target.dtype is not torch.float32 and precise:
        return Island(layer, torch.float32 if last else target.dtype)
    return layer
