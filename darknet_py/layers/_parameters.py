"""Parameters without values, and Darknet's starting values for weights."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn


def parameter(*size: int) -> nn.Parameter:
    """A float parameter of this size that nothing has been written to yet."""
    return nn.Parameter(torch.empty(size))


def he_uniform_(weights: Tensor, fan_in: int) -> Tensor:
    """Fill ``weights`` in place with uniform values in +-sqrt(2 / fan_in), as Darknet's layers start.

    The limit is the standard deviation of He et al. (https://arxiv.org/abs/1502.01852).
    """
    limit = sqrt(2 / fan_in)
    return nn.init.uniform_(weights, -limit, limit)
