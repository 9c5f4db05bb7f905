"""``[crop]``: the middle of a picture, in -1..1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..schema import option
from .base import Layer, Shape, section


@section("crop")
class Crop(Layer):
    """Also moves values from 0..1 to -1..1 unless ``noadjust`` (``forward_crop_layer`` with train=0)."""

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
        """[batch, channels, height, width] to [batch, channels, crop_height, crop_width]."""
        (top, left), (_, height, width) = self.corner, self.shape
        y = x[:, :, top : top + height, left : left + width]
        return y if self.options.noadjust else y * 2 - 1

    def describe(self) -> str:
        """Width and height."""
        return f"{self.options.crop_width} x {self.options.crop_height}"
