"""``Pooling``: the window geometry that ``[maxpool]`` and ``[local_avgpool]`` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._window import Window
from .base import Layer, Shape


class Pooling(Layer):
    """Base of the pooling layers: ``padding`` is the sum of both sides, of which the first gets the smaller half."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_maxpool`` and ``parse_local_avgpool``."""

        stride: int = option(1, "step in both directions", min=1, max=65536)
        stride_x: int = option(0, "horizontal step; 0: stride", min=0, max=65536)
        stride_y: int = option(0, "vertical step; 0: stride", min=0, max=65536)
        size: int = option(0, "side of the window; 0: stride", min=0, max=65536)
        padding: int = option(-1, "sum of the padding on both sides; -1: size - 1", min=-1, max=131072)

        def __post_init__(self) -> None:
            """Resolve keys that depend on others."""
            object.__setattr__(self, "stride_x", self.stride_x or self.stride)
            object.__setattr__(self, "stride_y", self.stride_y or self.stride)
            object.__setattr__(self, "size", self.size or self.stride)
            object.__setattr__(self, "padding", self.size - 1 if self.padding < 0 else self.padding)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.strides = (options.stride_y, options.stride_x)
        self.shape = self.output_shape(x, self.strides)
        if min(self.shape) < 1:
            raise ValueError(
                f"a {options.size}x{options.size} window does not fit into a map of {x.width} x {x.height}"
            )
        if options.padding // 2 >= options.size:
            raise ValueError(f"padding={options.padding}: expected less than 2 * size = {2 * options.size}")

    def output_shape(self, x: Shape, strides: tuple[int, int]) -> Shape:
        """Return the shape of the output for one image of shape ``x``."""
        lost = self.options.size - self.options.padding
        return Shape(x.channels, (x.height - lost) // strides[0] + 1, (x.width - lost) // strides[1] + 1)

    def pad(self, x: Tensor, strides: tuple[int, int], value: float) -> Tensor:
        """Pad ``x`` [batch, channels, height, width] with ``value`` as far as the windows reach.

        Cells that no window reaches stay: torch's pooling leaves them out.
        """
        before = self.options.padding // 2
        after = self.options.padding - before
        if not after:
            return x
        shape = self.output_shape(Shape(*x.shape[1:]), strides)
        right, below = (
            (count - 1) * step + self.options.size - length - before
            for count, step, length in zip(shape[:0:-1], strides[::-1], (x.shape[3], x.shape[2]), strict=True)
        )
        if after < max(strides) - 1:  # else no number is negative, which a trace with a dynamic size need not ask
            # Or tensors: TorchScript's traces, of one size each, have them as sizes, and sym_max refuses them.
            sizes: tuple[Any, ...] = (right, below)
            right, below = (torch.sym_max(n, 0) if isinstance(n, torch.SymInt) else max(n, 0) for n in sizes)
        return F.pad(x, (before, right, before, below), value=value)

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.options.size, self.options.size, *self.strides)

    def describe(self) -> str:
        """Window and stride."""
        options = self.options
        text = f"{options.size}x{options.size}/{options.stride_x}"
        return text if options.stride_x == options.stride_y else f"{text}x{options.stride_y}"

    @property
    def flops(self) -> float:
        """One for each element of each window."""
        return float(self.options.size**2 * self.shape.floats)
