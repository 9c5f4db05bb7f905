"""The fixed blur that ``antialiasing=`` puts behind a layer (https://arxiv.org/abs/1904.11486)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Shape

_BINOMIAL = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))


def blur(x: Tensor, kind: int, stride: tuple[int, int]) -> Tensor:
    """Blur every channel of ``x`` and take each ``stride``-th row and column.

    ``kind``: 2 is the mean of 2 x 2 cells without padding, anything else the 3 x 3 binomial filter
    with one cell of zeros around (``make_convolutional_layer``).
    """
    kernel = torch.full((2, 2), 0.25) if kind == 2 else torch.tensor(_BINOMIAL) / 16
    channels = x.shape[1]
    weights = kernel.to(x).expand(channels, 1, -1, -1)
    return F.conv2d(x, weights, stride=stride, padding=0 if kind == 2 else 1, groups=channels)


def blurred(shape: Shape, kind: int, stride: tuple[int, int]) -> Shape:
    """The shape that ``blur`` makes of ``shape``."""
    lost = 2 if kind == 2 else 1
    return Shape(shape.channels, (shape.height - lost) // stride[0] + 1, (shape.width - lost) // stride[1] + 1)
