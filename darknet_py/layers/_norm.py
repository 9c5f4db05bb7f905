"""Batch normalisation as a part of other layers, which hold the biases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..devices import float64_device
from . import _channels_last_norm
from ._context import Gradients, StepContext
from ._parameters import parameter
from ._sync_norm import AllReduce, all_reduce_sum, sync_batch_norm

EPSILON = 1e-5
_ARRAYS = ("scales", "rolling_mean", "rolling_variance")
MOMENTUM = 0.01  # share of the new statistics in the rolling ones


class Norm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) * scales + biases per channel (``normalize_cpu``).

    pjreddie's CPU code divides by sqrt(variance) + 1e-6 instead, but the GPU code, which trained the published
    weights, uses this formula, so it serves both dialects. In training the statistics are the batch's, and the rolling
    ones move by 0.01 towards them, with the unbiased variance, as in cuDNN.

    Args:
        channels: number of channels.
        cross_mini_batch: accumulate the statistics over the mini-batches of an iteration (``batch_normalize=2``, CmBN,
            https://arxiv.org/abs/2004.10934).
        cpu_momentum: share of the new statistics in C's CPU build (``Gradients.DARKNET_CPU``); 0: as in its GPU build.
    """

    rolling_mean: Tensor
    rolling_variance: Tensor

    def __init__(self, channels: int, *, cross_mini_batch: bool = False, cpu_momentum: float = 0.0) -> None:
        super().__init__()
        self.cross_mini_batch = cross_mini_batch
        self.cpu_momentum = cpu_momentum
        self.accumulated: tuple[Tensor, Tensor] | None = None  # mean and mean square over the iteration so far
        self.scales = parameter(channels)
        self.register_buffer("rolling_mean", torch.empty(channels))
        self.register_buffer("rolling_variance", torch.empty(channels))

    def forward(self, x: Tensor, biases: Tensor, context: StepContext | None = None) -> Tensor:
        """Normalise ``x``.

        Args:
            x: float [batch, channels, height, width].
            biases: float [channels].
            context: state of training.
        """
        training = self.training and not (context is not None and context.adversarial)
        if training and self.cross_mini_batch:
            return self._cross_mini_batch(x, biases, context)
        if training and context is not None and context.gradients is Gradients.DARKNET_CPU and self.cpu_momentum:
            with torch.no_grad():
                self.rolling_mean.lerp_(x.mean(dim=(0, 2, 3)), self.cpu_momentum)
                self.rolling_variance.lerp_(x.var(dim=(0, 2, 3), correction=0), self.cpu_momentum)
            return _batch_norm(x, self.scales, biases, None)
        rolling = self.rolling_mean, self.rolling_variance
        if not training:
            return F.batch_norm(x, *rolling, self.scales, biases, False, 0.0, EPSILON)
        if context is not None and context.all_reduce is not None:
            return sync_batch_norm(x, self.scales, biases, rolling, MOMENTUM, EPSILON, context.all_reduce)
        return _batch_norm(x, self.scales, biases, rolling)

    def _cross_mini_batch(self, x: Tensor, biases: Tensor, context: StepContext | None) -> Tensor:
        """Normalise with the statistics of the iteration's mini-batches up to this one (``fast_v_cbn_kernel``)."""
        step = context.subdivision + 1 if context is not None else 1
        all_reduce = context.all_reduce if context is not None else None
        count = (
            x.numel() // x.shape[1] if all_reduce is None else float(all_reduce(x.new_tensor(x.numel() / x.shape[1])))
        )
        mean = all_reduce_sum(x.sum(dim=(0, 2, 3)), all_reduce) / count
        square = torch.maximum(
            all_reduce_sum(x.square().sum(dim=(0, 2, 3)), all_reduce) / max(count - 1, 1), mean.square()
        )
        if step > 1 and self.accumulated is not None:
            mean = mean / step + (1 - 1 / step) * self.accumulated[0]
            square = square / step + (1 - 1 / step) * self.accumulated[1]
        self.accumulated = mean.detach(), square.detach()
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.rolling_mean.lerp_(mean, MOMENTUM)
            self.rolling_variance.lerp_(variance, MOMENTUM)
        if context is not None and context.darknet_gradients:
            factor = (variance.detach() + EPSILON).rsqrt()
            y: Tensor = _Normalise.apply(x, mean.detach(), factor, all_reduce)  # type: ignore[no-untyped-call]
        else:
            y = (x - mean.view(-1, 1, 1)) * (variance + EPSILON).rsqrt().view(-1, 1, 1)
        return y * self.scales.view(-1, 1, 1) + biases.view(-1, 1, 1)

    def stored(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the arrays that follow the biases in a .weights file."""
        yield "scales", self.scales
        yield "rolling_mean", self.rolling_mean
        yield "rolling_variance", self.rolling_variance

    def initialise(self) -> None:
        """Set the scales to 1, the mean to 0 and, as Darknet does, the variance to 0."""
        nn.init.ones_(self.scales)
        self.rolling_mean.zero_()
        self.rolling_variance.zero_()

    def fold(self, weights: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """Fold the norm into the layer before it (``fuse_conv_batchnorm``), in double precision.

        Args:
            weights: float [channels, ...].
            biases: float [channels].

        Returns:
            Weights and biases of the same shapes and dtypes, whose layer needs no norm.
        """
        tensors = (weights, biases, self.scales, self.rolling_mean, self.rolling_variance)
        device = float64_device(weights.device)
        wide, shift, scales, mean, variance = (t.to(device).double() for t in tensors)
        factor = scales / (variance + EPSILON).sqrt()
        shift = shift - factor * mean
        wide = wide * factor.view(-1, *[1] * (weights.dim() - 1))
        # The dtype first: the tensors' device may have no float64.
        return wide.to(weights.dtype).to(weights.device), shift.to(biases.dtype).to(biases.device)


def _batch_norm(x: Tensor, scales: Tensor, biases: Tensor, rolling: tuple[Tensor, Tensor] | None) -> Tensor:
    """Normalise with the statistics of ``x``, and move the rolling ones towards them."""
    if _channels_last_norm.supports(x):
        return _channels_last_norm.channels_last_batch_norm(x, scales, biases, rolling, MOMENTUM, EPSILON)
    mean, variance = rolling or (None, None)
    return F.batch_norm(x, mean, variance, scales, biases, True, MOMENTUM, EPSILON)


def shift_input(norm: Norm | None, biases: Tensor, values: Tensor) -> None:
    """Add a constant to the input of a norm, or of the biases without one, in place.

    Args:
        norm: the norm, whose mean changes, or None.
        biases: the biases, which change without a norm.
        values: the constant, of the shape of the biases.
    """
    if norm:
        norm.rolling_mean.sub_(values)
    else:
        biases.add_(values)


def without_norm(arrays: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield the (name, tensor) pairs that are not arrays of batch norm."""
    return ((name, tensor) for name, tensor in arrays if name not in _ARRAYS)


class _Normalise(torch.autograd.Function):
    """(x - mean) * factor with the gradient of C, as if the statistics were those of ``x`` alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, factor: Tensor, all_reduce: AllReduce | None) -> Tensor:
        y = (x - mean.view(-1, 1, 1)) * factor.view(-1, 1, 1)
        ctx.save_for_backward(y, factor)
        ctx.all_reduce = all_reduce
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        y, factor = ctx.saved_tensors
        axes = (0, 2, 3)
        sums = torch.stack((gradient.sum(dim=axes), (gradient * y).sum(dim=axes)))
        count = gradient.new_full((1, sums.shape[1]), gradient.numel() / gradient.shape[1])
        if ctx.all_reduce is not None:
            *sums, count = ctx.all_reduce(torch.cat((sums, count)))
        mean, mean_product = ((each / count).view(-1, 1, 1) for each in sums)
        return factor.view(-1, 1, 1) * (gradient - mean - y * mean_product), None, None, None
