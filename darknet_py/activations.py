"""Darknet's activations by the names that cfg files use (``activations.c``, ``activations.h``).

Some names are those of forks: ``hswish``, ``hsigmoid`` and ``relu10`` of SpursLipu's and others' PyTorch code, and
``silu``, which AlexeyAB's later files and YOLOv7's use for swish. ``softplus`` and ``sigmoid`` are this package's own.

A member is callable: ``Activation("mish")(x)``. All keep the shape; the three ``normalize_channels``
kinds normalise over dimension 1, the others are elementwise. Darknet replaces an unknown name by
relu, with a message on stderr; here it is an error when the cfg is read.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-4


def _stair(x: Tensor) -> Tensor:
    floor, half = x.floor(), (x / 2).floor()
    return torch.where(floor % 2 == 0, half, x - floor + half)


def _plse(x: Tensor) -> Tensor:
    middle = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 0.01 * (x - 4) + 1, middle))


def _lhtan(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 0.001 * (x - 1) + 1, x))


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x)))


def _selu(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * torch.expm1(x.clamp(max=0)))


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def _normalise(positive: Tensor) -> Tensor:
    return positive / (_EPSILON + positive.sum(dim=1, keepdim=True))


def _normalise_softmax(x: Tensor) -> Tensor:
    # exp(x) / (epsilon + sum) divided by exp(maximum) on both sides, so that no value above 88 overflows.
    maximum = x.amax(dim=1, keepdim=True).clamp(min=0)
    exponentials = (x - maximum).exp()
    return exponentials / (_EPSILON * (-maximum).exp() + exponentials.sum(dim=1, keepdim=True))


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


_FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "logistic": torch.sigmoid,
    "loggy": lambda x: 2 * torch.sigmoid(x) - 1,
    "relu": F.relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": _selu,
    "gelu": _gelu,
    "relie": lambda x: F.leaky_relu(x, 0.01),
    "ramp": lambda x: F.relu(x) + 0.1 * x,
    "leaky": _leaky,
    "revleaky": _leaky,
    "tanh": torch.tanh,
    "plse": _plse,
    "stair": _stair,
    "hardtan": F.hardtanh,
    "lhtan": _lhtan,
    "swish": F.silu,
    "mish": F.mish,
    "hard_mish": _hard_mish,
    "hswish": lambda x: x * F.relu6(x + 3) / 6,
    "hsigmoid": lambda x: F.relu6(x + 3) / 6,
    "relu10": lambda x: x.clamp(0, 10),
    "softplus": F.softplus,
    "normalize_channels": lambda x: _normalise(F.relu(x)),
    "normalize_channels_softmax": _normalise_softmax,
    "normalize_channels_softmax_maxval": lambda x: _normalise((x - x.amax(dim=1, keepdim=True)).exp()),
}


def _gelu_gradient(y: Tensor) -> Tensor:
    cube = y**3
    inner = 0.0356774 * cube + 0.797885 * y
    return 0.5 * torch.tanh(inner) + (0.0535161 * cube + 0.398942 * y) / torch.cosh(inner).square() + 0.5


def _normalise_gradient(y: Tensor) -> Tensor:
    return torch.where(y > 0, y, torch.ones_like(y))


def _softmax_gradient(y: Tensor) -> Tensor:
    return y * (1 - y)


# C computes the gradient from the output, which is exact for the other activations. But gelu's formula expects the
# input, revleaky divides (on the GPU) where leaky multiplies, and normalize_channels ignores the influence of a channel
# on the others (on the GPU; the CPU code has another formula).
_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _gelu_gradient,
    "revleaky": lambda y: torch.where(y > 0, 1.0, 10.0),
    "normalize_channels": _normalise_gradient,
    "normalize_channels_softmax": _softmax_gradient,
    "normalize_channels_softmax_maxval": _softmax_gradient,
}


ALIASES = {
    "silu": "swish",
    "sigmoid": "logistic",
    "none": "linear",
    "h_swish": "hswish",
    "hard_swish": "hswish",
    "h_sigmoid": "hsigmoid",
}


class Activation(enum.StrEnum):
    """Values of ``activation=``; each is a callable. ``ALIASES`` are further names."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    LOGGY = "loggy"
    RELU = "relu"
    RELU6 = "relu6"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    RELIE = "relie"
    RAMP = "ramp"
    LEAKY = "leaky"
    REVLEAKY = "revleaky"
    TANH = "tanh"
    PLSE = "plse"
    STAIR = "stair"
    HARDTAN = "hardtan"
    LHTAN = "lhtan"
    SWISH = "swish"
    MISH = "mish"
    HARD_MISH = "hard_mish"
    HSWISH = "hswish"
    HSIGMOID = "hsigmoid"
    RELU10 = "relu10"
    SOFTPLUS = "softplus"
    NORMALIZE_CHANNELS = "normalize_channels"
    NORMALIZE_CHANNELS_SOFTMAX = "normalize_channels_softmax"
    NORMALIZE_CHANNELS_SOFTMAX_MAXVAL = "normalize_channels_softmax_maxval"

    @property
    def is_darknets(self) -> bool:
        """Whether a Darknet has it."""
        return self not in (Activation.HSWISH, Activation.HSIGMOID, Activation.RELU10, Activation.SOFTPLUS)

    @property
    def mixes_channels(self) -> bool:
        """Whether an output depends on other channels at its position."""
        return self.startswith("normalize_channels")

    @classmethod
    def other_names(cls) -> tuple[str, ...]:
        """Names that stand for a value, for hints."""
        return tuple(ALIASES)

    @classmethod
    def _missing_(cls, value: object) -> Activation | None:
        return cls(ALIASES[value]) if isinstance(value, str) and value in ALIASES else None

    def __call__(self, x: Tensor, darknet_gradients: bool = False) -> Tensor:
        """Apply the activation.

        Args:
            x: float [batch, channels, ...].
            darknet_gradients: use C's gradient, which differs from the derivative for gelu, revleaky and the three
                ``normalize_channels`` kinds.

        Returns:
            The activated tensor; same shape.
        """
        if darknet_gradients and self in _GRADIENTS:
            y: Tensor = _DarknetGradient.apply(x, self)  # type: ignore[no-untyped-call]
            return y
        return _FORMULAS[self](x)


class _DarknetGradient(torch.autograd.Function):
    """An activation with C's gradient, which is computed from the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: Activation) -> Tensor:
        y = _FORMULAS[kind](x)
        ctx.kind = kind
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return gradients[0] * _GRADIENTS[ctx.kind](y), None
