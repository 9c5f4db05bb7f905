"""``[crop]``: the middle of an image, in -1..1."""

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
    """The middle; in training any part, mirrored, turned and recoloured at random, as C's CUDA code does it.

    Also moves values from 0..1 to -1..1 unless ``noadjust`` (``forward_crop_layer``).
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_crop``."""

        crop_height: int = option(1, "rows kept")
        crop_width: int = option(1, "columns kept")
        noadjust: bool = option(False, "leave the values as they are")
        flip: bool = option(False, "mirror at random", train=True)
        angle: float = option(0.0, "turn at random by up to that many degrees", train=True)
        saturation: float = option(1.0, "change of saturation at random", train=True)
        exposure: float = option(1.0, "change of exposure at random", train=True)
        shift: float = option(0.0, "change of hue at random", train=True)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        height, width = options.crop_height, options.crop_width
        if not (1 <= height <= x.height and 1 <= width <= x.width):
            raise ValueError(f"cannot crop {width} x {height} out of {x.width} x {x.height}")
        self.shape = Shape(x.channels, height, width)
        self.corner = ((x.height - height) // 2, (x.width - width) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, channels, crop_height, crop_width]; at random in training."""
        if self.training:
            return self._drawn(x, torch.rand(len(x), 8, device=x.device))
        (top, left), (_, height, width) = self.corner, self.shape
        y = x[:, :, top : top + height, left : left + width]
        return y if self.options.noadjust else y * 2 - 1

    def _drawn(self, x: Tensor, chances: Tensor) -> Tensor:
        """What ``levels_image_kernel`` and ``forward_crop_layer_kernel`` make of 8 numbers in 0..1 for each image."""
        options, count, (height, width) = self.options, len(x), x.shape[2:]
        saturation, exposure = (
            torch.where(side > 0.5, 1 / factor, factor).view(-1, 1, 1, 1)
            for factor, side in (
                (chances[:, 0] * (options.saturation - 1) + 1, chances[:, 1]),
                (chances[:, 2] * (options.exposure - 1) + 1, chances[:, 3]),
            )
        )
        if x.shape[1] == _COLOURS:
            value = x.amax(dim=1, keepdim=True)  # in HSV a channel is value * (1 - saturation * what the hue says)
            x = (exposure * (value - saturation * (value - x))).clamp(0, 1)
        x = x if options.noadjust else x * 2 - 1
        if x.shape[1] == _COLOURS:
            x = x + (chances[0, :_COLOURS].view(-1, 1, 1) - 0.5) * options.shift
        column = torch.arange(self.shape.width, device=x.device) + (width - self.shape.width) * chances[:, 4, None]
        row = torch.arange(self.shape.height, device=x.device) + (height - self.shape.height) * chances[:, 5, None]
        mirrored = (chances[:, 6, None] > 0.5) & options.flip
        column = torch.where(mirrored, width - column - 1, column)[:, None, :] - width / 2
        row = row[:, :, None] - height / 2
        angle = (math.radians(options.angle) * (2 * chances[:, 7] - 1)).view(-1, 1, 1)
        across = angle.cos() * column - angle.sin() * row + width / 2
        down = angle.sin() * column + angle.cos() * row + height / 2
        places = [2 * across / max(width - 1, 1) - 1, 2 * down / max(height - 1, 1) - 1]
        grid = torch.stack(torch.broadcast_tensors(*places), dim=-1).expand(count, -1, -1, -1)
        return F.grid_sample(x, grid.to(x.dtype), "bilinear", "zeros", align_corners=True)

    def describe(self) -> str:
        """Width and height."""
        return f"{self.options.crop_width} x {self.options.crop_height}"
