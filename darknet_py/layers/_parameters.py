"""Uninitialised parameters, and Darknet's initialisation of weights."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn


def parameter(*size: int) -> nn.Parameter:
    """Return an uninitialised float parameter of this size."""
    return nn.Parameter(torch.empty(size))


def he_uniform_(weights: Tensor, fan_in: int) -> Tensor:
    """Fill ``weights`` in place with uniform values in +-sqrt(2 / fan_in), Darknet's initialisation.

    The limit is the standard deviation of He et al. (https://arxiv.org/abs/1502.01852).
    """
    limit = sqrt(2 / fan_in)
    return nn.init.uniform_(weights, -limit, limit)
