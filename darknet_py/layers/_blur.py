"""Anti-aliased downsampling, ``antialiasing=`` (https://arxiv.org/abs/1904.11486)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._window import Window
from .base import Shape

_BINOMIAL = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))


def blur(x: Tensor, kind: int, stride: tuple[int, int]) -> Tensor:
    """Blur every channel and downsample (``make_convolutional_layer``).

    Args:
        x: float [batch, channels, height, width].
        kind: 2 is the mean of 2x2 cells without padding; any other value is the 3x3 binomial filter, zero-padded by 1.
        stride: vertical and horizontal step.

    Returns:
        float [batch, channels, ...] of the shape ``blur_shape``.
    """
    kernel = torch.full((2, 2), 0.25) if kind == 2 else torch.tensor(_BINOMIAL) / 16
    channels = x.shape[1]
    weights = kernel.to(x).expand(channels, 1, -1, -1)
    return F.conv2d(x, weights, stride=stride, padding=0 if kind == 2 else 1, groups=channels)


def blur_shape(shape: Shape, kind: int, stride: tuple[int, int]) -> Shape:
    """Return the shape of ``blur``'s output for one image of ``shape``."""
    lost = 2 if kind == 2 else 1
    return Shape(shape.channels, (shape.height - lost) // stride[0] + 1, (shape.width - lost) // stride[1] + 1)


def blur_window(kind: int, size: int, stride: tuple[int, int]) -> Window:
    """Return the window of ``blur`` of the output of a layer whose windows have the side ``size`` and stride 1."""
    side = size + (1 if kind == 2 else 2)
    return Window(side, side, *stride)
