"""Binary convolutions: XNOR-Net (https://arxiv.org/abs/1603.05279)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_convolution(
    x: Tensor, weights: Tensor, biases: Tensor, padding: int, strides: tuple[int, int], groups: int, margin: float
) -> Tensor:
    """Binary convolution of XNOR-Net (https://arxiv.org/abs/1603.05279, ``calculate_binary_weights``).

    Inputs are replaced by their signs, weights by their signs times the filter's mean magnitude. ``margin`` is the
    value of the padding: -1 in AlexeyAB's code, 0 in pjreddie's.
    """
    mean = weights.abs().mean(dim=(1, 2, 3), keepdim=True)
    signs = F.pad((x > 0).to(x.dtype) * 2 - 1, (padding,) * 4, value=margin)
    return F.conv2d(signs, torch.where(weights > 0, mean, -mean), biases, strides, groups=groups)


def sign_ste(x: Tensor) -> Tensor:
    """The sign of ``x`` with the gradient of ``hardtanh(x)`` (straight-through estimator), as in C."""
    clipped = F.hardtanh(x)
    return clipped + (torch.where(x > 0, 1.0, -1.0) - clipped).detach()


def binarise(weights: Tensor) -> Tensor:
    """The sign of each weight times its filter's mean magnitude, with the gradient of the weight."""
    mean = weights.abs().mean(dim=(1, 2, 3), keepdim=True)
    return weights + (torch.where(weights > 0, mean, -mean) - weights).detach()
