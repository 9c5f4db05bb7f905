"""``Rearrange``: the shapes that ``[reorg]`` and ``[reorg3d]`` share."""

from __future__ import annotations

from dataclasses import dataclass

from ..cfg.schema import option
from ._window import Window
from .base import Layer, Shape


class Rearrange(Layer):
    """Base of ``[reorg]`` and ``[reorg3d]``."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_reorg``."""

        stride: int = option(1, "side of the block of cells that is moved to channels", min=1, max=65536)
        reverse: bool = option(False, "move channels to cells instead")

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        s = options.stride
        if options.reverse:
            if x.channels % (s * s):
                raise ValueError(f"expected a multiple of stride * stride = {s * s} channels, got {x.channels}")
            self.shape = Shape(x.channels // (s * s), x.height * s, x.width * s)
        else:
            if x.height % s or x.width % s:
                raise ValueError(f"expected width and height to be multiples of stride={s}, got {x.width} x {x.height}")
            self.shape = Shape(x.channels * s * s, x.height // s, x.width // s)

    @property
    def window(self) -> Window:
        """The block of cells that is moved to channels."""
        s = self.options.stride
        return Window(1, 1, 1 / s, 1 / s) if self.options.reverse else Window(s, s, s, s)

    def describe(self) -> str:
        """Stride and direction."""
        return f"{'x' if self.options.reverse else '/'}{self.options.stride}"
