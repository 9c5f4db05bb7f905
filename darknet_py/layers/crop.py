"""``[crop]``: the centre of an image, in -1..1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from .base import Layer, Shape, section

_COLOURS = 3


@section("crop")
class Crop(Layer):
    """A centre crop; in training a random crop, flipped, rotated and changed in colour, as in C's CUDA code.

    Values are mapped from 0..1 to -1..1 unless ``noadjust`` is set (``forward_crop_layer``).
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_crop``."""

        crop_height: int = option(1, "height of the crop", min=1, max=65536)
        crop_width: int = option(1, "width of the crop", min=1, max=65536)
        noadjust: bool = option(False, "keep values in 0..1")
        flip: bool = option(False, "random horizontal flip", train=True)
        angle: float = option(0.0, "random rotation by up to this many degrees", train=True, min=0, max=360)
        saturation: float = option(1.0, "random saturation, by up to this factor", train=True, min=0)
        exposure: float = option(1.0, "random exposure, by up to this factor", train=True, min=0)
        shift: float = option(0.0, "random shift of the channels, up to half of this", train=True, min=0)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        height, width = options.crop_height, options.crop_width
        if not (1 <= height <= x.height and 1 <= width <= x.width):
            raise ValueError(f"expected a crop of at most {x.width} x {x.height}, got {width} x {height}")
        self.shape = Shape(x.channels, height, width)
        self.corner = ((x.height - height) // 2, (x.width - width) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, crop_height, crop_width] for ``x`` [batch, channels, height, width] in 0..1."""
        if self.training:
            return self._augment(x, torch.rand(len(x), 8, device=x.device))
        top, left = self.corner
        _, height, width = self.shape
        y = x[:, :, top : top + height, left : left + width]
        return y if self.options.noadjust else y * 2 - 1

    def _augment(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Crop at random (``levels_image_kernel``, ``forward_crop_layer_kernel``).

        Args:
            x: float [batch, channels, height, width] in 0..1.
            uniform: float [batch, 8], uniform random numbers in 0..1.
        """
        options = self.options
        height, width = x.shape[2:]
        saturation, exposure = (
            torch.where(coin > 0.5, 1 / factor, factor).view(-1, 1, 1, 1)
            for factor, coin in (
                (uniform[:, 0] * (options.saturation - 1) + 1, uniform[:, 1]),
                (uniform[:, 2] * (options.exposure - 1) + 1, uniform[:, 3]),
            )
        )
        if x.shape[1] == _COLOURS:
            value = x.amax(dim=1, keepdim=True)  # in HSV a channel is value * (1 - saturation * f(hue))
            x = (exposure * (value - saturation * (value - x))).clamp(0, 1)
        x = x if options.noadjust else x * 2 - 1
        if x.shape[1] == _COLOURS:
            x = x + (uniform[0, :_COLOURS].view(-1, 1, 1) - 0.5) * options.shift
        column = torch.arange(self.shape.width, device=x.device) + (width - self.shape.width) * uniform[:, 4, None]
        row = torch.arange(self.shape.height, device=x.device) + (height - self.shape.height) * uniform[:, 5, None]
        flipped = (uniform[:, 6, None] > 0.5) & options.flip
        column = torch.where(flipped, width - column - 1, column)[:, None, :] - width / 2
        row = row[:, :, None] - height / 2
        angle = (math.radians(options.angle) * (2 * uniform[:, 7] - 1)).view(-1, 1, 1)
        across = angle.cos() * column - angle.sin() * row + width / 2
        down = angle.sin() * column + angle.cos() * row + height / 2
        grid_xy = [2 * across / max(width - 1, 1) - 1, 2 * down / max(height - 1, 1) - 1]
        grid = torch.stack(torch.broadcast_tensors(*grid_xy), dim=-1).expand(len(x), -1, -1, -1)
        return F.grid_sample(x, grid.to(x.dtype), "bilinear", "zeros", align_corners=True)

    def describe(self) -> str:
        """Width and height."""
        return f"{self.options.crop_width} x {self.options.crop_height}"
