"""Batch normalisation as a part of other layers; the biases stay with the layer that has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._context import Gradients, StepContext
from ._parameters import parameter
from ._shared_norm import Total, added, shared_batch_norm

EPSILON = 1e-5
_ARRAYS = ("scales", "rolling_mean", "rolling_variance")
_RATE = 0.01  # by which rolling statistics move


class Norm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) * scales + biases per channel (``normalize_cpu``).

    pjreddie's CPU code divides by sqrt(variance) + 1e-6 instead; his GPU code, with which his files
    were trained, does as here, so one formula serves both dialects. In training the statistics are
    the batch's and the rolling ones move by 0.01, the variance unbiased, as cuDNN does it.
    """

    rolling_mean: Tensor
    rolling_variance: Tensor

    def __init__(self, channels: int, *, across: bool = False, rate_on_cpu: float = 0.0) -> None:
        """``across``: over the mini-batches of an iteration (CmBN, batch_normalize=2)."""
        super().__init__()
        self.across, self.rate_on_cpu = across, rate_on_cpu
        self.gathered: tuple[Tensor, Tensor] | None = None  # mean and mean square of the iteration so far
        self.scales = parameter(channels)
        self.register_buffer("rolling_mean", torch.empty(channels))
        self.register_buffer("rolling_variance", torch.empty(channels))

    def forward(self, x: Tensor, biases: Tensor, context: StepContext | None = None) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]."""
        training = self.training and not (context is not None and context.adversarial)
        if training and self.across:
            return self._across(x, biases, context)
        if training and context is not None and context.gradients is Gradients.DARKNET_CPU and self.rate_on_cpu:
            with torch.no_grad():
                self.rolling_mean.lerp_(x.mean(dim=(0, 2, 3)), self.rate_on_cpu)
                self.rolling_variance.lerp_(x.var(dim=(0, 2, 3), correction=0), self.rate_on_cpu)
            return F.batch_norm(x, None, None, self.scales, biases, True, 0.0, EPSILON)
        mean, variance = self.rolling_mean, self.rolling_variance
        total = context.total if context is not None else None
        if training and total is not None:
            return shared_batch_norm(x, self.scales, biases, (mean, variance), _RATE, EPSILON, total)
        return F.batch_norm(x, mean, variance, self.scales, biases, training, _RATE, EPSILON)

    def _across(self, x: Tensor, biases: Tensor, context: StepContext | None) -> Tensor:
        """As ``fast_v_cbn_kernel``: statistics of this mini-batch and those before it in the iteration."""
        number = context.subdivision + 1 if context is not None else 1
        total = context.total if context is not None else None
        count = x.numel() // x.shape[1] if total is None else float(total(x.new_tensor(x.numel() / x.shape[1])))
        mean = added(x.sum(dim=(0, 2, 3)), total) / count
        square = torch.maximum(added(x.square().sum(dim=(0, 2, 3)), total) / max(count - 1, 1), mean.square())
        if number > 1 and self.gathered is not None:
            mean = mean / number + (1 - 1 / number) * self.gathered[0]
            square = square / number + (1 - 1 / number) * self.gathered[1]
        self.gathered = mean.detach(), square.detach()
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.rolling_mean.lerp_(mean, _RATE)
            self.rolling_variance.lerp_(variance, _RATE)
        if context is not None and context.darknet_gradients:
            factor = (variance.detach() + EPSILON).rsqrt()
            y: Tensor = _Normalised.apply(x, mean.detach(), factor, total)  # type: ignore[no-untyped-call]
        else:
            y = (x - mean.view(-1, 1, 1)) * (variance + EPSILON).rsqrt().view(-1, 1, 1)
        return y * self.scales.view(-1, 1, 1) + biases.view(-1, 1, 1)

    def stored(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what a file holds behind the biases."""
        yield "scales", self.scales
        yield "rolling_mean", self.rolling_mean
        yield "rolling_variance", self.rolling_variance

    def initialise(self) -> None:
        """Scales 1, mean 0 and, as in Darknet, variance 0."""
        nn.init.ones_(self.scales)
        self.rolling_mean.zero_()
        self.rolling_variance.zero_()

    def folded(self, weights: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [out, ...] and biases that do the same without a norm (``fuse_conv_batchnorm``).

        Worked out in double precision and returned in that of ``weights``.
        """
        factor = self.scales.double() / (self.rolling_variance.double() + EPSILON).sqrt()
        shift = biases.double() - factor * self.rolling_mean.double()
        scaled = weights.double() * factor.view(-1, *[1] * (weights.dim() - 1))
        return scaled.to(weights.dtype), shift.to(biases.dtype)


def without_norm(arrays: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The named arrays that are not batch norm's."""
    return ((name, tensor) for name, tensor in arrays if name not in _ARRAYS)


class _Normalised(torch.autograd.Function):
    """(x - mean) * factor whose gradient takes them for the statistics of ``x``, though they are of more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, factor: Tensor, total: Total | None) -> Tensor:
        y = (x - mean.view(-1, 1, 1)) * factor.view(-1, 1, 1)
        ctx.save_for_backward(y, factor)
        ctx.total = total
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,), (y, factor) = gradients, ctx.saved_tensors
        axes = (0, 2, 3)
        sums = torch.stack((gradient.sum(dim=axes), (gradient * y).sum(dim=axes)))
        count = gradient.new_full((1, sums.shape[1]), gradient.numel() / gradient.shape[1])
        if ctx.total is not None:
            *sums, count = ctx.total(torch.cat((sums, count)))
        even, sloped = ((each / count).view(-1, 1, 1) for each in sums)
        return factor.view(-1, 1, 1) * (gradient - even - y * sloped), None, None, None
