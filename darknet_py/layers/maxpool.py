"""``[maxpool]``: the largest value of a window, or of channels at one place."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._blur import blur, blurred
from .base import Layer, Shape, section


class Pool(Layer):
    """Window geometry of both pools: ``padding`` is the sum of both sides, the smaller half first."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_maxpool`` and ``parse_local_avgpool``."""

        stride: int = option(1, "step, for the axes that give none of their own")
        stride_x: int = option(0, "step to the right; 0: stride")
        stride_y: int = option(0, "step down; 0: stride")
        size: int = option(0, "side of the window; 0: stride")
        padding: int = option(-1, "cells added in all, half of them before; -1: size - 1")

        def __post_init__(self) -> None:
            """Resolve what one key says about another."""
            object.__setattr__(self, "stride_x", self.stride_x or self.stride)
            object.__setattr__(self, "stride_y", self.stride_y or self.stride)
            object.__setattr__(self, "size", self.size or self.stride)
            object.__setattr__(self, "padding", self.size - 1 if self.padding < 0 else self.padding)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        for key in ("stride_x", "stride_y", "size"):
            if getattr(options, key) < 1:
                raise ValueError(f"{key}: expected 1 or more, got {getattr(options, key)}")
        self.strides = (options.stride_y, options.stride_x)
        self.shape = self.pooled(x, self.strides)
        if min(self.shape) < 1:
            raise ValueError(f"a {options.size}x{options.size} window does not fit into {x.width} x {x.height}")
        if options.padding // 2 >= options.size:
            raise ValueError(f"padding={options.padding} leaves windows of size={options.size} that see no cell")

    def pooled(self, x: Shape, strides: tuple[int, int]) -> Shape:
        """The shape of the windows' values."""
        lost = self.options.size - self.options.padding
        return Shape(x.channels, (x.height - lost) // strides[0] + 1, (x.width - lost) // strides[1] + 1)

    def padded(self, x: Tensor, strides: tuple[int, int], value: float) -> Tensor:
        """``x`` with the cells around it that the windows reach, filled with ``value``."""
        before = self.options.padding // 2
        shape = self.pooled(Shape(*x.shape[1:]), strides)
        after = (
            (count - 1) * step + self.options.size - length - before
            for count, step, length in zip(shape[:0:-1], strides[::-1], (x.shape[3], x.shape[2]), strict=True)
        )
        right, below = after
        return F.pad(x, (before, right, before, below), value=value)

    def describe(self) -> str:
        """Window and stride."""
        options = self.options
        text = f"{options.size}x{options.size}/{options.stride_x}"
        return text if options.stride_x == options.stride_y else f"{text}x{options.stride_y}"

    @property
    def flops(self) -> float:
        """One for each cell of each window."""
        return float(self.options.size**2 * self.shape.floats)


@section("maxpool", "max")
class Maxpool(Pool):
    """Cells outside the input never win; by default odd maps round up (13 to 7)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Pool.Options):
        """Keys of ``parse_maxpool``."""

        maxpool_depth: bool = option(False, "pool over channels instead of places")
        out_channels: int = option(1, "with maxpool_depth: channel k competes for output k % out_channels")
        antialiasing: int = option(0, "take the stride by a blur behind: 1 binomial 3x3, 2 mean of 2x2")

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if options.maxpool_depth:
            if not 1 <= options.out_channels <= x.channels:
                raise ValueError(f"out_channels: expected 1..{x.channels}, got {options.out_channels}")
            self.shape = x._replace(channels=options.out_channels)
        elif options.antialiasing:
            self.shape = blurred(self.pooled(x, (1, 1)), options.antialiasing, self.strides)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the largest values."""
        options = self.options
        if options.maxpool_depth:
            missing = -x.shape[1] % options.out_channels
            groups = F.pad(x, (0, 0, 0, 0, 0, missing), value=float("-inf"))
            rows, columns = groups.shape[2:]
            return groups.reshape(x.shape[0], -1, options.out_channels, rows, columns).amax(dim=1)
        strides = (1, 1) if options.antialiasing else self.strides
        y = F.max_pool2d(self.padded(x, strides, float("-inf")), options.size, strides)
        return blur(y, options.antialiasing, self.strides) if options.antialiasing else y

    def describe(self) -> str:
        """Window and stride, or the channels."""
        return f"depth {self.options.out_channels}" if self.options.maxpool_depth else super().describe()
