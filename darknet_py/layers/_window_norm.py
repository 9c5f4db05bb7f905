"""``WindowNorm``: cross-iteration batch norm (CBN, https://arxiv.org/abs/2002.05712), which Darknet does not have."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from ._context import StepContext
from ._norm import EPSILON, MOMENTUM, Norm
from ._sync_norm import all_reduce_sum

_PREFIX = "window_"


class Geometry(NamedTuple):
    """Keys of a convolution: strides (vertical, horizontal), padding, dilation, groups."""

    strides: tuple[int, int]
    padding: int
    dilation: int
    groups: int


def is_window(name: str) -> bool:
    """Whether a buffer of this name holds statistics of earlier mini-batches, on which no inference depends."""
    return name.rpartition(".")[2].startswith(_PREFIX)


class WindowNorm(Norm):
    """Batch norm after a convolution, with the statistics of the last mini-batches.

    The weights have changed since a statistic was computed, so it is corrected by its first derivative with respect to
    the convolution's own weights. The mean is that of the means, the variance is
    mean(max(square, mean**2)) - mean(mean)**2. Earlier statistics are constants in the backward
    pass. During the warm-up (``burn_in``) the statistics are those of the mini-batch alone.

    Args:
        shape: of the convolution's weights, [filters, channels / groups, size, size].
        groups: its groups.
        length: mini-batches whose statistics count, the present one included.
    """

    window_count: Tensor  # [1], filled entries of the others
    window_mean: Tensor  # [length - 1, filters], the latest first
    window_square: Tensor  # mean of squares, likewise
    window_mean_slope: Tensor  # derivative of the means, the same for all filters of a group: [length - 1, groups, ...]
    window_square_slope: Tensor  # [length - 1, *shape]
    window_weights: Tensor  # [length - 1, *shape]

    def __init__(self, shape: tuple[int, int, int, int], groups: int, length: int) -> None:
        super().__init__(shape[0])
        self.groups = groups
        self.length = length
        per_filter, per_weight = (length - 1, shape[0]), (length - 1, *shape)
        sizes = {"count": (1,), "mean": per_filter, "square": per_filter, "weights": per_weight}
        sizes |= {"mean_slope": (length - 1, groups, *shape[1:]), "square_slope": per_weight}
        for name, size in sizes.items():
            self.register_buffer(_PREFIX + name, torch.zeros(size))

    def after_convolution(
        self,
        x: Tensor,
        biases: Tensor,
        context: StepContext | None,
        inputs: Tensor,
        weights: Tensor,
        geometry: Geometry,
    ) -> Tensor:
        """Normalise the result of a convolution.

        Args:
            x: the result, float [batch, filters, height, width].
            biases: float [filters].
            context: state of training.
            inputs: what was convolved, float [batch, channels, ...].
            weights: with these weights, without their graph.
            geometry: and these keys.
        """
        if not self.training or (context is not None and context.adversarial):
            return self.forward(x, biases, context)
        all_reduce = context.all_reduce if context is not None else None
        total = torch.tensor(x.numel() / x.shape[1], device=x.device)
        count = total if all_reduce is None else all_reduce(total)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = all_reduce_sum(x.sum(dim=(0, 2, 3)), all_reduce) / count
        square = all_reduce_sum(x.square().sum(dim=(0, 2, 3)), all_reduce) / count
        with torch.no_grad():
            means, squares, share = self._earlier(weights)
        means, squares = torch.cat((mean[None], means)), torch.cat((square[None], squares))
        with torch.autocast(x.device.type, enabled=False):  # the statistics stay in float32
            mean_all = share @ means
            variance = (share @ torch.maximum(squares, means.square()) - mean_all.square()).clamp(min=0)
        with torch.no_grad():
            self.rolling_mean.lerp_(mean_all, MOMENTUM)
            self.rolling_variance.lerp_(variance, MOMENTUM)
            if context is None or context.iteration >= context.burn_in:
                ones = torch.ones_like(x[:, : self.groups])
                slopes = [_weight_gradient(inputs, gradient, weights, geometry) for gradient in (ones, 2 * x)]
                slopes = [(slope if all_reduce is None else all_reduce(slope)) / count for slope in slopes]
                self._push(mean, square, slopes[0], slopes[1], weights)
        y = (x - mean_all.view(-1, 1, 1)) * (variance + EPSILON).rsqrt().view(-1, 1, 1)
        return y * self.scales.view(-1, 1, 1) + biases.view(-1, 1, 1)

    def _earlier(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Statistics of earlier mini-batches, corrected for the present weights.

        Returns:
            Means and means of squares, each [length - 1, filters]; and the share of each mini-batch in the mean over
            the window, [length], the present one first.
        """
        moved = weights - self.window_weights
        slope = self.window_mean_slope.repeat_interleave(len(weights) // self.groups, dim=1)
        means = self.window_mean + (slope * moved).flatten(2).sum(dim=2)
        squares = self.window_square + (self.window_square_slope * moved).flatten(2).sum(dim=2)
        is_used = torch.arange(self.length, device=weights.device) <= self.window_count
        return means, squares, is_used / (self.window_count + 1)

    def _push(self, *latest: Tensor) -> None:
        """Store mean, mean of squares, their slopes, and the weights, in place of the oldest."""
        names = ("mean", "square", "mean_slope", "square_slope", "weights")
        for name, value in zip(names, latest, strict=True):
            entries = getattr(self, _PREFIX + name)
            entries.copy_(torch.cat((value[None], entries[:-1])))
        self.window_count.add_(1).clamp_(max=self.length - 1)

    def initialise(self) -> None:
        """Set the arrays of batch norm, and forget earlier mini-batches."""
        super().initialise()
        self.window_count.zero_()


def _weight_gradient(inputs: Tensor, gradient: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    """Gradient of the weights of n filters, [n, ...], for one of their result, [batch, n, height, width]."""
    size = (gradient.shape[1], *weights.shape[1:])
    with torch.autocast(gradient.device.type, enabled=False):
        result: Tensor = conv2d_weight(inputs.to(gradient.dtype), size, gradient, *geometry)
    return result
