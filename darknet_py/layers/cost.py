"""``[cost]``: the loss of a classifier or regressor; the identity at inference."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg import Dialect
from ..cfg.schema import option
from ._context import StepContext
from ._loss import IGNORED_TARGET, Loss
from .base import Layer, section


class CostType(enum.StrEnum):
    """Values of ``type=``."""

    SSE = "sse"
    MASKED = "masked"
    SMOOTH = "smooth"
    L1 = "L1"
    SEG = "seg"
    WGAN = "wgan"


@section("cost")
class Cost(Layer):
    """Returns its input, so that it does not change the network's output (``get_network_output`` skips costs)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_cost``; the last two are pjreddie's."""

        type: CostType = option(CostType.SSE, "loss function", train=True)
        scale: float = option(1.0, "weight of the loss", train=True)
        ratio: float = option(
            0.0, "share of the gradients that is kept, the largest of a mini-batch; 0: all", train=True, min=0, max=1
        )
        noobj: float = option(1.0, "type=seg: weight of values whose target is 0 (pjreddie)", train=True, min=0)
        thresh: float = option(
            0.0, "gradients below this / number of inputs are set to 0 (pjreddie)", train=True, min=0
        )

    options: Options
    has_loss = True
    reads_vectors = True

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` [batch, ...] unchanged."""
        return x

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the loss of ``type``.

        Args:
            x: float [batch, ...].
            output: not used.
            targets: float, as many values as ``x``; with ``masked``, those of IGNORED_TARGET are left out.
            context: not used.

        Returns:
            The loss; ``value`` is ``scale`` times Darknet's cost, halved where that is a square.
        """
        y, t = x, targets.to(x).view_as(x)
        kind = self.options.type
        if kind in _PJREDDIE_ONLY and self.options.dialect is not Dialect.PJREDDIE:
            kind = CostType.SSE
        if kind is CostType.MASKED:
            y = torch.where(t == IGNORED_TARGET, t, y)
        error, delta, value = _compute(kind, y, t)
        if kind is CostType.SEG:
            factor = torch.where(t == 0, self.options.noobj, 1.0)
            error, delta, value = error * factor, delta * factor, value * factor
        if self.options.thresh and self.options.dialect is Dialect.PJREDDIE:
            delta = torch.where(delta.abs() < self.options.thresh / x[0].numel(), 0.0, delta)
        if self.options.ratio:
            kept = _largest(delta, self.options.ratio)
            delta, value = delta * kept, value * kept
        scale = self.options.scale
        return Loss(error.detach().sum(), scale * delta.detach(), scale * value.sum())

    def describe(self) -> str:
        """The loss function."""
        return str(self.options.type)


_PJREDDIE_ONLY = (CostType.L1, CostType.SEG, CostType.WGAN)  # AlexeyAB's code reads them as sse


def _compute(kind: CostType, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Darknet's error and delta, and the loss whose negative derivative the delta is, elementwise."""
    difference = t - y
    sign = torch.where(difference > 0, 1.0, -1.0)
    if kind is CostType.SMOOTH:
        is_linear = difference.abs() >= 1
        error = torch.where(is_linear, 2 * difference.abs() - 1, difference.square())
        return error, torch.where(is_linear, sign, difference), error / 2
    if kind is CostType.L1:
        return difference.abs(), sign, difference.abs()
    if kind is CostType.WGAN:
        return torch.where(t != 0, -y, y), torch.where(t > 0, 1.0, -1.0), torch.where(t > 0, -y, y)
    return difference.square(), difference, difference.square() / 2


def _largest(delta: Tensor, ratio: float) -> Tensor:
    """Return the mask of the largest absolute values, ``ratio`` of all: online hard example mining.

    ``forward_cost_layer_gpu`` computes this threshold, and then sets it to 0, so that it drops nothing.
    """
    sizes = delta.detach().abs()
    threshold = sizes.flatten().sort().values[min(int((1 - ratio) * sizes.numel()), sizes.numel() - 1)]
    return sizes >= threshold
