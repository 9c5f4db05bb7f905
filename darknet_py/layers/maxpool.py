"""``[maxpool]``: the maximum of a window, or of channels at one position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cfg.schema import option
from ._blur import blur, blur_shape, blur_window
from ._channel_groups import ChannelGroups, Channels
from ._pooling import Pooling
from ._window import Window
from .base import Shape, section

_MIN_SEPARABLE = 5  # side of a window from which two passes along the axes are faster than one


@section("maxpool", "max")
class Maxpool(Pooling):
    """Padding is -inf; by default the output size is rounded up (13 to 7 with stride 2)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Pooling.Options):
        """Keys of ``parse_maxpool``."""

        maxpool_depth: bool = option(False, "pool over channels instead of windows")
        out_channels: int = option(
            1,
            "with maxpool_depth: output j is the maximum of the channels k with k % out_channels == j",
            min=1,
            max=1048576,
        )
        antialiasing: int = option(
            0, "apply the stride by a blur after the pooling: 1 binomial 3x3, 2 mean of 2x2", min=0
        )

    options: Options
    dtype_agnostic = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if options.maxpool_depth:
            if not 1 <= options.out_channels <= x.channels:
                raise ValueError(f"out_channels: expected 1..{x.channels}, got {options.out_channels}")
            self.shape = x._replace(channels=options.out_channels)
        elif options.antialiasing:
            self.shape = blur_shape(self.output_shape(x, (1, 1)), options.antialiasing, self.strides)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of ``x`` [batch, channels, height, width]."""
        options = self.options
        if options.maxpool_depth:
            missing = -x.shape[1] % options.out_channels
            groups = F.pad(x, (0, 0, 0, 0, 0, missing), value=float("-inf"))
            rows, columns = groups.shape[2:]
            return groups.reshape(x.shape[0], -1, options.out_channels, rows, columns).amax(dim=1)
        strides = (1, 1) if options.antialiasing else self.strides
        y = F.max_pool2d(self.pad(x, strides, float("-inf")), options.size, strides)
        return blur(y, options.antialiasing, self.strides) if options.antialiasing else y

    @property
    def window(self) -> Window:
        """The window and the blur, or one cell where channels are pooled."""
        options = self.options
        if options.maxpool_depth:
            return Window()
        if options.antialiasing:
            return blur_window(options.antialiasing, options.size, self.strides)
        return super().window

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, unless channels are pooled, which stay."""
        return super().channel_groups(groups, *inputs) if self.options.maxpool_depth else inputs[0]

    def describe(self) -> str:
        """Window and stride, or the number of channels."""
        return f"depth {self.options.out_channels}" if self.options.maxpool_depth else super().describe()

    def fused(self) -> nn.Module | None:
        """``FusedMaxPool``, unless channels are pooled or the result is blurred."""
        return None if self.options.maxpool_depth or self.options.antialiasing else FusedMaxPool(self)


class FusedMaxPool(nn.Module):
    """``Maxpool`` without padded copies: windows of 2 as maxima of pairs, large windows as rows before columns."""

    def __init__(self, layer: Maxpool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of ``x`` [batch, channels, height, width]."""
        size = self.layer.options.size
        strides = self.layer.strides
        before = self.layer.options.padding // 2
        expected = self.layer.output_shape(Shape(*x.shape[1:]), strides)[1:]
        starts = tuple(-(-n // step) for n, step in zip(x.shape[2:], strides, strict=True))
        if size == 2 and not before and expected == starts:
            return _pair_maximum(_pair_maximum(x, 2, strides[0]), 3, strides[1])
        symmetric = tuple((n + 2 * before - size) // step + 1 for n, step in zip(x.shape[2:], strides, strict=True))
        if symmetric != expected or 2 * before > size:
            pooled: Tensor = self.layer(x)
            return pooled
        if size < _MIN_SEPARABLE or strides != (1, 1):
            return F.max_pool2d(x, size, strides, before)
        return F.max_pool2d(F.max_pool2d(x, (size, 1), 1, (before, 0)), (1, size), 1, (0, before))


def _pair_maximum(x: Tensor, axis: int, step: int) -> Tensor:
    """Return the maximum of every ``step``-th element along an axis and its successor, if it has one."""
    every = (slice(None),) * axis
    first, second = x[(*every, slice(0, None, step))], x[(*every, slice(1, None, step))]
    if first.shape == second.shape:
        return torch.maximum(first, second)
    y = first.clone(memory_format=torch.preserve_format)
    paired = y.narrow(axis, 0, second.shape[axis])
    torch.maximum(paired, second, out=paired)
    return y
