"""``[cost]``: the loss of a classifier or regressor; nothing at inference."""

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
    """What ``type=`` may say."""

    SSE = "sse"
    MASKED = "masked"
    SMOOTH = "smooth"
    L1 = "L1"
    SEG = "seg"
    WGAN = "wgan"


@section("cost")
class Cost(Layer):
    """Passes its input on, so that it is the network's output (``get_network_output`` skips costs)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_cost``; the last two are pjreddie's."""

        type: CostType = option(CostType.SSE, "how the difference to the target counts", train=True)
        scale: float = option(1.0, "factor on the gradient", train=True)
        ratio: float = option(0.0, "share of the smallest gradients that is dropped", train=True, effect="none")
        noobj: float = option(1.0, "factor where the target is 0 (pjreddie)", train=True)
        thresh: float = option(0.0, "gradients below are dropped (pjreddie)", train=True)

    options: Options
    has_loss = True

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths of the input's shape. ``value`` is half of C's cost where that is a square, times ``scale``."""
        y, t = x, targets.to(x).view_as(x)
        kind = self.options.type
        if kind in _ELSEWHERE and self.options.dialect is not Dialect.PJREDDIE:
            kind = CostType.SSE
        if kind is CostType.MASKED:
            y = torch.where(t == IGNORED_TARGET, t, y)
        error, delta, value = _measured(kind, y, t)
        if kind is CostType.SEG:
            factor = torch.where(t == 0, self.options.noobj, 1.0)
            error, delta, value = error * factor, delta * factor, value * factor
        if self.options.thresh and self.options.dialect is Dialect.PJREDDIE:
            delta = torch.where(delta.abs() < self.options.thresh / x[0].numel(), 0.0, delta)
        scale = self.options.scale
        return Loss(error.detach().sum(), scale * delta.detach(), scale * value.sum())

    def describe(self) -> str:
        """The kind."""
        return str(self.options.type)


_ELSEWHERE = (CostType.L1, CostType.SEG, CostType.WGAN)  # pjreddie's; AlexeyAB's code takes the words for sse


def _measured(kind: CostType, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """C's error, its delta, and the loss whose derivative the delta is."""
    lack = t - y
    sign = torch.where(lack > 0, 1.0, -1.0)
    if kind is CostType.SMOOTH:
        far = lack.abs() >= 1
        error = torch.where(far, 2 * lack.abs() - 1, lack.square())
        return error, torch.where(far, sign, lack), error / 2
    if kind is CostType.L1:
        return lack.abs(), sign, lack.abs()
    if kind is CostType.WGAN:
        return torch.where(t != 0, -y, y), torch.where(t > 0, 1.0, -1.0), torch.where(t > 0, -y, y)
    return lack.square(), lack, lack.square() / 2
