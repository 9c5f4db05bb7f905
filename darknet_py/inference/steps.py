"""The steps of an optimised network: layers done again so that fewer bytes move.

A step is a module that is called as its layer is and gives the same numbers up to rounding. Maps are in
channels_last order throughout: the order that oneDNN and tensor cores want.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg import Dialect
from ..layers import Layer, Shape
from ..layers.avgpool import Avgpool
from ..layers.convolutional import Convolutional
from ..layers.dropout import Dropout
from ..layers.empty import Empty
from ..layers.heads.yolo import Yolo
from ..layers.maxpool import Maxpool
from ..layers.reorg import Reorg
from ..layers.route import Route
from ..layers.sam import Sam
from ..layers.scale_channels import ScaleChannels
from ..layers.shortcut import Shortcut
from ..layers.upsample import Upsample
from .convolutions import Convolution, Dense, Packed, Target

_SEPARATE = 5  # side of a window from which two passes along the axes are faster than one
# Layers that move, compare, add or multiply, which any kind of float does well enough.
_ANY_DTYPE = (Avgpool, Dropout, Empty, Maxpool, Reorg, Route, Sam, ScaleChannels, Shortcut, Upsample)


class Pool(nn.Module):
    """A ``Maxpool`` that copies no edges and notes no places: pairs, and rows before columns for large windows."""

    def __init__(self, layer: Maxpool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the largest values."""
        size, strides, before = self.layer.options.size, self.layer.strides, self.layer.options.padding // 2
        count = self.layer.pooled(Shape(*x.shape[1:]), strides)[1:]
        starts = tuple(-(-n // step) for n, step in zip(x.shape[2:], strides, strict=True))
        if size == 2 and not before and count == starts:
            return _larger(_larger(x, 2, strides[0]), 3, strides[1])
        even = tuple((n + 2 * before - size) // step + 1 for n, step in zip(x.shape[2:], strides, strict=True))
        if even != count or 2 * before > size:
            pooled: Tensor = self.layer(x)
            return pooled
        if size < _SEPARATE or strides != (1, 1):
            return F.max_pool2d(x, size, strides, before)
        return F.max_pool2d(F.max_pool2d(x, (size, 1), 1, (before, 0)), (1, size), 1, (0, before))


def _larger(x: Tensor, axis: int, step: int) -> Tensor:
    """Of every ``step``-th element along an axis, the larger of it and the next; the last may have none."""
    every = (slice(None),) * axis
    first, second = x[(*every, slice(0, None, step))], x[(*every, slice(1, None, step))]
    if first.shape == second.shape:
        return torch.maximum(first, second)
    y = first.clone(memory_format=torch.preserve_format)
    met = y.narrow(axis, 0, second.shape[axis])
    torch.maximum(met, second, out=met)
    return y


class Logistics(nn.Module):
    """A ``[yolo]`` head in one pass over the whole map, and one over the few entries that stay as they were."""

    def __init__(self, layer: Yolo) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[batch, anchors * (5 + classes), height, width], shape kept, in float32."""
        x = x.float()
        y = x.sigmoid()
        new, old = self.layer.entries(y), self.layer.entries(x)
        new[:, :, 2:4] = old[:, :, 2:4]
        if self.layer.stretch != 1:
            new[:, :, :2].mul_(self.layer.stretch).sub_((self.layer.stretch - 1) / 2)
        return y


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


def does_nothing(layer: Layer, *inputs: Shape) -> bool:
    """Whether a layer returns the one map that it reads."""
    if type(layer) is Route:
        return len(inputs) == 1 == layer.options.groups
    return type(layer) in (Dropout, Empty)


def is_convolution(layer: Layer) -> bool:
    """Whether a ``Convolution`` can stand for the layer."""
    return type(layer) is Convolutional and not layer.options.xnor


def is_binary(layer: Layer) -> bool:
    """Whether a layer looks at the signs of what it reads."""
    return isinstance(layer, Convolutional) and layer.options.xnor


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
    if type(layer) is Yolo and not layer.logistic_before and last:
        return Logistics(layer)
    precise = type(layer) not in _ANY_DTYPE or next(layer.parameters(), None) is not None
    if target.dtype is not torch.float32 and precise:
        return Island(layer, torch.float32 if last else target.dtype)
    return layer
