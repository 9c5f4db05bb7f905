"""Batch normalisation with the statistics of all processes' images; torch's SyncBatchNorm supports GPUs only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

AllReduce = Callable[[Tensor], Tensor]  # sums a tensor over the processes

_AXES = (0, 2, 3)


def sync_batch_norm(
    x: Tensor,
    scales: Tensor,
    biases: Tensor,
    rolling: tuple[Tensor, Tensor],
    momentum: float,
    epsilon: float,
    all_reduce: AllReduce,
) -> Tensor:
    """Compute ``F.batch_norm`` in training mode over all processes.

    Args:
        x: float [batch, channels, height, width], this process's images.
        scales: float [channels].
        biases: float [channels].
        rolling: rolling mean and variance, each [channels]; updated in place.
        momentum: share of the new statistics in the rolling ones.
        epsilon: added to the variance.
        all_reduce: sums a tensor over the processes.

    Returns:
        The normalised ``x``.
    """
    y, mean, variance = _SyncNorm.apply(x, scales, biases, epsilon, all_reduce)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        rolling[0].lerp_(mean, momentum)
        rolling[1].lerp_(variance, momentum)
    normalised: Tensor = y
    return normalised


def all_reduce_sum(x: Tensor, all_reduce: AllReduce | None) -> Tensor:
    """Sum ``x``, float of any shape, over the processes, differentiably; return ``x`` where ``all_reduce`` is None."""
    if all_reduce is None:
        return x
    summed: Tensor = _AllReduceSum.apply(x, all_reduce)  # type: ignore[no-untyped-call]
    return summed


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, all_reduce: AllReduce) -> Tensor:
        ctx.all_reduce = all_reduce
        return all_reduce(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.all_reduce(gradients[0]), None


class _SyncNorm(torch.autograd.Function):
    """Normalise with global statistics; gradients of scales and biases are local, like those of other parameters."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scales: Tensor, biases: Tensor, epsilon: float, all_reduce: AllReduce
    ) -> tuple[Tensor, Tensor, Tensor]:
        x32 = x.float()
        sums = all_reduce(torch.cat((x32.sum(dim=_AXES), x32.new_tensor([x.numel() / x.shape[1]]))))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = x32 - mean.view(-1, 1, 1)
        variance = all_reduce(centred.square().sum(dim=_AXES)) / count
        factor = (variance + epsilon).rsqrt()
        ctx.save_for_backward(x, scales, mean, factor, count)
        ctx.all_reduce = all_reduce
        y = centred * (factor * scales).view(-1, 1, 1) + biases.view(-1, 1, 1)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        ctx.mark_non_differentiable(mean, unbiased)
        return y.to(x.dtype), mean, unbiased

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, scales, mean, factor, count = ctx.saved_tensors
        gradient = gradients[0].float()
        normalised = (x.float() - mean.view(-1, 1, 1)) * factor.view(-1, 1, 1)
        for_biases, for_scales = gradient.sum(dim=_AXES), (gradient * normalised).sum(dim=_AXES)
        mean_gradient, mean_product = (ctx.all_reduce(torch.cat((for_biases, for_scales))) / count).chunk(2)
        rest = gradient - mean_gradient.view(-1, 1, 1) - normalised * mean_product.view(-1, 1, 1)
        return (rest * (factor * scales).view(-1, 1, 1)).to(x.dtype), for_scales, for_biases, None, None
