"""Batch normalisation as a part of other layers; the biases stay with the layer that has them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import parameter

EPSILON = 1e-5


class Norm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) * scales + biases per channel (``normalize_cpu``).

    pjreddie's CPU code divides by sqrt(variance) + 1e-6 instead; his GPU code, with which his files
    were trained, does as here, so one formula serves both dialects. In training the statistics are
    the batch's and the rolling ones move by 0.01, the variance unbiased, as cuDNN does it.
    """

    rolling_mean: Tensor
    rolling_variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = parameter(channels)
        self.register_buffer("rolling_mean", torch.empty(channels))
        self.register_buffer("rolling_variance", torch.empty(channels))

    def forward(self, x: Tensor, biases: Tensor) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]."""
        return F.batch_norm(
            x, self.rolling_mean, self.rolling_variance, self.scales, biases, self.training, 0.01, EPSILON
        )

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
