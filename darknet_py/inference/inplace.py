"""Activations in place, for maps in channels_last order that have no other reader."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..activations import Activation

_TILE = 1 << 18  # values that stay in the second-level cache between mish's passes

InPlace = Callable[[Tensor], Tensor]


def identity(y: Tensor) -> Tensor:
    """Return ``y``, a tensor of any shape and dtype, unchanged."""
    return y


def mish_(y: Tensor) -> Tensor:
    """Compute mish in place, several times faster than ``F.mish``; see ``negated_mish_``.

    Args:
        y: float [batch, channels, height, width] in channels_last order.
    """
    is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if y.device.type != "cpu" or is_recorded:
        return F.mish(y, inplace=True)
    return negated_mish_(y.neg_())


def negated_mish_(y: Tensor) -> Tensor:
    """Compute ``mish(-y)`` in place, for a convolution whose negated weights give ``y`` at no cost.

    With z = -x and n = sigmoid(z), ``mish(x) = x tanh(log(1 + e^x)) = z - 2 z / (1 + n^2)``: three passes, one of them
    the sigmoid, while mish of x itself needs more. The map is processed in tiles, so that only the first pass reads
    main memory.

    Args:
        y: float [batch, channels, height, width] in channels_last order.
    """
    one = torch.ones(())
    for tile in y.permute(0, 2, 3, 1).reshape(-1).split(_TILE):
        z = tile.float()
        n = z.sigmoid()
        torch.addcmul(one, n, n, out=n)
        z.addcdiv_(z, n, value=-2)
        if z is not tile:
            tile.copy_(z)
    return y


_IN_PLACE: dict[Activation, InPlace] = {
    Activation.LINEAR: identity,
    Activation.LEAKY: lambda y: F.leaky_relu_(y, 0.1),
    Activation.REVLEAKY: lambda y: F.leaky_relu_(y, 0.1),
    Activation.RELU: F.relu_,
    Activation.SWISH: lambda y: F.silu(y, inplace=True),
    Activation.LOGISTIC: Tensor.sigmoid_,
    Activation.TANH: Tensor.tanh_,
    Activation.MISH: mish_,
}


def in_place(activation: Activation) -> InPlace:
    """Return a function that computes ``activation(y)`` and may overwrite ``y``."""
    return _IN_PLACE.get(activation, activation)


# oneDNN's graph compiler computes these with the convolution before them. It would also take logistic and swish, but
# needs several times as long for them as torch.
_FUSIBLE = frozenset(
    (Activation.LEAKY, Activation.REVLEAKY, Activation.RELIE, Activation.RELU, Activation.RELU6, Activation.HARDTAN)
)


def traceable(activation: Activation) -> InPlace:
    """Return ``in_place(activation)``, or a function without side effects where oneDNN's graph compiler can fuse it."""
    return activation if activation in _FUSIBLE else in_place(activation)
