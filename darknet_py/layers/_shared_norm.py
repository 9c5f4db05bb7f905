"""Batch normalisation by the statistics of several processes' images.

``Total`` sums a tensor over the processes; torch's own SyncBatchNorm does the same on GPUs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]

_AXES = (0, 2, 3)


def shared_batch_norm(
    x: Tensor, scales: Tensor, biases: Tensor, rolling: tuple[Tensor, Tensor], rate: float, epsilon: float, total: Total
) -> Tensor:
    """``F.batch_norm`` in training, of ``x`` [batch, channels, height, width]; moves ``rolling`` mean and variance."""
    y, mean, variance = _SharedNorm.apply(x, scales, biases, epsilon, total)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        rolling[0].lerp_(mean, rate)
        rolling[1].lerp_(variance, rate)
    normalised: Tensor = y
    return normalised


def added(x: Tensor, total: Total | None) -> Tensor:
    """``x`` summed over the processes, with its gradient."""
    if total is None:
        return x
    summed: Tensor = _Added.apply(x, total)  # type: ignore[no-untyped-call]
    return summed


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, total: Total) -> Tensor:
        ctx.total = total
        return total(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.total(gradients[0]), None


class _SharedNorm(torch.autograd.Function):
    """The gradients of scales and biases are those of this process's images, as other parameters' are."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scales: Tensor, biases: Tensor, epsilon: float, total: Total
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = x.float()
        sums = total(torch.cat((wide.sum(dim=_AXES), wide.new_tensor([x.numel() / x.shape[1]]))))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = wide - mean.view(-1, 1, 1)
        variance = total(centred.square().sum(dim=_AXES)) / count
        factor = (variance + epsilon).rsqrt()
        ctx.save_for_backward(x, scales, mean, factor, count)
        ctx.total = total
        y = centred * (factor * scales).view(-1, 1, 1) + biases.view(-1, 1, 1)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        ctx.mark_non_differentiable(mean, unbiased)
        return y.to(x.dtype), mean, unbiased

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, scales, mean, factor, count = ctx.saved_tensors
        gradient = gradients[0].float()
        normal = (x.float() - mean.view(-1, 1, 1)) * factor.view(-1, 1, 1)
        for_biases, for_scales = gradient.sum(dim=_AXES), (gradient * normal).sum(dim=_AXES)
        even, sloped = (ctx.total(torch.cat((for_biases, for_scales))) / count).chunk(2)
        rest = gradient - even.view(-1, 1, 1) - normal * sloped.view(-1, 1, 1)
        return (rest * (factor * scales).view(-1, 1, 1)).to(x.dtype), for_scales, for_biases, None, None
