"""``[upsample]``: nearest-neighbour upsampling, or downsampling by sums of blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._window import Window
from .base import Layer, Shape, section


@section("upsample")
class Upsample(Layer):
    """A negative stride downsamples by the sum (not the mean) of each block (``upsample_cpu``)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_upsample``."""

        stride: int = option(
            2, "factor of both axes; negative: side of the blocks that are summed", min=-65536, max=65536
        )
        scale: float = option(1.0, "factor of all values")

    options: Options
    dtype_agnostic = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        stride = options.stride
        if stride == 0:
            raise ValueError("stride: expected a value other than 0")
        height, width = (n * stride if stride > 0 else n // -stride for n in x[1:])
        self.shape = Shape(x.channels, height, width)
        if min(self.shape) < 1:
            raise ValueError(f"stride={stride} is larger than the map of {x.width} x {x.height}")

    def forward(self, x: Tensor) -> Tensor:
        """Return the resized map for ``x`` [batch, channels, height, width]."""
        stride, scale = self.options.stride, self.options.scale
        if stride > 0:
            y = F.interpolate(x, scale_factor=float(stride), mode="nearest")
        else:
            y = F.avg_pool2d(x, -stride) * stride**2
        return y if scale == 1 else y * scale

    @property
    def window(self) -> Window:
        """One cell, or the block that is summed."""
        stride = self.options.stride
        return Window(1, 1, 1 / stride, 1 / stride) if stride > 0 else Window(*[-stride] * 4)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input."""
        return inputs[0]

    def describe(self) -> str:
        """Stride and scale."""
        text = f"x{self.options.stride}" if self.options.stride > 0 else f"/{-self.options.stride}"
        return text if self.options.scale == 1 else f"{text} times {self.options.scale:g}"
