"""The result of a layer's loss, and how it enters the backward pass.

Darknet does not differentiate a loss function: a layer with a loss writes a gradient, ``delta``, and passes it to
the layer before without the derivative of its own logistic or softmax. ``Loss`` therefore holds two things:
``delta``, to train as Darknet does, and ``value``, a real loss, to train with its derivative. A layer that Darknet does
not have needs ``value`` only, see ``differentiable_loss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

IGNORED_TARGET = -1234.0  # a class target that losses ignore (SECRET_NUM in C), like ignore_index in PyTorch
_COLUMNS = 6  # of a target: x, y, w, h, class, track


@dataclass(frozen=True)
class Loss:
    """The loss of one layer over a mini-batch.

    Attributes:
        cost: scalar that Darknet prints (``l.cost``); it is not what is minimised.
        delta: what Darknet adds to the gradient of the layer's first input, in the input's shape: minus a derivative,
            summed over the images.
        value: scalar, the real loss, summed over the images; it has a graph with ``Gradients.AUTOGRAD``, or if
            ``differentiable``.
        parts: scalars for the log, by name.
        differentiable: whether training takes the derivative of ``value``, by all inputs of the layer, with the other
            kinds of gradients too; ``delta`` has no meaning then.
    """

    cost: Tensor
    delta: Tensor
    value: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    differentiable: bool = False


def squared_loss(delta: Tensor, value: Tensor, **parts: Tensor) -> Loss:
    """Return a Loss whose cost is ``sum(delta ** 2)``, as in most layers of Darknet."""
    return Loss(delta.square().sum(), delta, value, parts)


def differentiable_loss(value: Tensor, **parts: Tensor) -> Loss:
    """Return a Loss that is trained with its derivative, whatever the kind of gradients.

    Args:
        value: scalar, a function of the layer's output, summed over the images.
        **parts: scalars for the log, by name.
    """
    shown = {name: part.detach() for name, part in parts.items()}
    return Loss(value.detach(), torch.zeros_like(value), value, shown, differentiable=True)


def pad_targets(targets: Sequence[Tensor]) -> Tensor:
    """Stack the targets of several images on the CPU, padded with zeros.

    They stay there: which predictions they are matched to, and how many, is computed without waiting for a device.

    As in Darknet, the list of an image ends at the first target whose x is 0; those behind it are dropped.

    Args:
        targets: for each image float [n, 5] (cx, cy, w, h relative to the image, and the class) or [n, 6] (also the
            object's identity, for tracking).

    Returns:
        float [batch, n of the longest, 6]; rows of zeros are padding.

    Raises:
        ValueError: if a tensor has another shape.
    """
    rows = []
    for target in targets:
        if target.dim() != 2 or target.shape[1] not in (_COLUMNS - 1, _COLUMNS):
            raise ValueError(f"expected targets [n, 5] (x y w h class) for every image, got {tuple(target.shape)}")
        padded = target.new_zeros(max(len(target), 1), _COLUMNS, dtype=torch.float32)
        padded[: len(target), : target.shape[1]] = target
        rows.append(padded)
    batch = pad_sequence(rows, batch_first=True).cpu()
    return batch * (batch[..., :1] != 0).cumprod(dim=1)


class _StraightThrough(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.shape = x.shape
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].reshape(ctx.shape), None


def straight_through(x: Tensor, y: Tensor) -> Tensor:
    """Return ``y`` whose gradient is passed unchanged to ``x`` (straight-through estimator).

    Darknet's backward pass through a layer with a loss. ``x`` and ``y`` have the same number of elements.
    """
    passed: Tensor = _StraightThrough.apply(x, y.detach())  # type: ignore[no-untyped-call]
    return passed


class _ScalarWithGradients(torch.autograd.Function):
    """0, whose gradients are the second half of the arguments."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients: tuple[Tensor, ...] = ctx.saved_tensors
        return *gradients, *(None for _ in gradients)


def scalar_with_gradients(tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return a scalar 0 whose backward pass gives each of ``tensors`` its gradient, of the same shape and dtype.

    ``torch.autograd.backward(tensors, gradients)`` does so too, but imports sympy the first time, which takes half a
    second.
    """
    scalar: Tensor = _ScalarWithGradients.apply(*tensors, *gradients)  # type: ignore[no-untyped-call]
    return scalar
