"""What training tells layers, and what a layer with a loss tells training.

C writes a hand-made number, delta, behind every output of a layer with a loss and passes it on as it is: it
is -dL/dx for a loss that nobody wrote down, and the derivative of the layer's own logistics and softmaxes is
left out on purpose. So ``Loss`` carries two things: ``delta`` to train as Darknet does, and ``value``, a
real loss, to train with its true derivative.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

IGNORED = -1234.0  # a target that no loss looks at (C's SECRET_NUM)
_RECORD = 6  # x, y, w, h, class, track


class Gradients(enum.StrEnum):
    """How training goes back through the network.

    ``DARKNET``: as C's CUDA build with cuDNN does. ``DARKNET_CPU``: as AlexeyAB's CPU build does where it
    differs, for comparisons with it: a convolution replaces the gradient that later readers of its input
    have left there (``col2im_cpu_ext`` clears it first), so that shortcuts and routes teach the layers they
    reach back to nothing. ``AUTOGRAD``: the true derivative of a real loss.
    """

    DARKNET = "darknet"
    DARKNET_CPU = "darknet-cpu"
    AUTOGRAD = "autograd"


@dataclass(frozen=True)
class StepContext:
    """Where training stands while a mini-batch is worked off.

    ``seen``: images trained on, those at work included. ``iteration``: updates made. ``subdivision``:
    number of the mini-batch since the last update. ``sequence``: mini-batches over which recurrent layers
    keep their state. ``adversarial``: the pass that only looks for a worse image. ``size``: width and
    height of the input in pixels. ``reject``: takes a head's deltas [rows, 5 + classes] and the number of
    classes, and drops some. ``total``: sums a tensor over the processes that share a mini-batch, where batch
    norm's statistics are those of all its images. ``targets``: the images' objects [images, most, 6].
    """

    size: tuple[int, int]
    seen: int = 0
    iteration: int = 0
    max_batches: int = 0
    burn_in: int = 0
    subdivision: int = 0
    sequence: int = 1
    adversarial: bool = False
    gradients: Gradients = Gradients.DARKNET
    label_smooth_eps: float = 0.0
    reject: Callable[[Tensor, int], Tensor] | None = None
    total: Callable[[Tensor], Tensor] | None = None
    targets: Tensor | None = None

    @property
    def darknet_gradients(self) -> bool:
        """Whether gradients are C's where they are not the derivative."""
        return self.gradients is not Gradients.AUTOGRAD


@dataclass(frozen=True)
class Loss:
    """What a layer says about a mini-batch.

    ``cost``: C's number (l.cost), which is not what is minimised. ``delta``: what C adds to the gradient
    of the layer's input, of the input's shape: minus a derivative, summed over the images. ``value``:
    the real loss, also a sum, with a graph where true gradients are asked for. ``parts``: for the log.
    """

    cost: Tensor
    delta: Tensor
    value: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


def squared(delta: Tensor, value: Tensor, **parts: Tensor) -> Loss:
    """A Loss whose cost is the sum of the squares of ``delta``, as most layers of C have it."""
    return Loss(delta.square().sum(), delta, value, parts)


def padded(targets: Sequence[Tensor], device: torch.device) -> Tensor:
    """[n, 5] or [n, 6] tensors (x y w h class and, for tracking, an identity) as one [images, most n, 6].

    Rows that hold no target are zeros. As in C the targets of an image end at the first whose x is 0.
    """
    rows = []
    for target in targets:
        if target.dim() != 2 or target.shape[1] not in (_RECORD - 1, _RECORD):
            raise ValueError(f"expected targets [n, 5] (x y w h class) for every image, got {tuple(target.shape)}")
        wide = target.new_zeros(max(len(target), 1), _RECORD, dtype=torch.float32)
        wide[: len(target), : target.shape[1]] = target
        rows.append(wide)
    whole = pad_sequence(rows, batch_first=True).to(device)
    return whole * (whole[..., :1] != 0).cumprod(dim=1)


class _Straight(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.shape = x.shape
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].reshape(ctx.shape), None


def straight_through(x: Tensor, y: Tensor) -> Tensor:
    """``y`` with the gradient passed to ``x`` as it comes: how C goes back through a layer with a loss."""
    passed: Tensor = _Straight.apply(x, y.detach())  # type: ignore[no-untyped-call]
    return passed
