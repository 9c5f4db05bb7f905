"""``Rearrange``: the shapes that ``[reorg]`` and ``[reorg3d]`` share."""

from __future__ import annotations

from dataclasses import dataclass

from ..cfg.schema import option
from .base import Layer, Shape


class Rearrange(Layer):
    """Shapes of both reorgs."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_reorg``."""

        stride: int = option(1, "side of the block of cells that becomes channels")
        reverse: bool = option(False, "channels to cells")

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        s = options.stride
        if s < 1:
            raise ValueError(f"stride: expected 1 or more, got {s}")
        if options.reverse:
            if x.channels % (s * s):
                raise ValueError(f"{x.channels} channels are no multiple of stride * stride = {s * s}")
            self.shape = Shape(x.channels // (s * s), x.height * s, x.width * s)
        else:
            if x.height % s or x.width % s:
                raise ValueError(f"{x.width} x {x.height} is no multiple of stride={s}")
            self.shape = Shape(x.channels * s * s, x.height // s, x.width // s)

    def describe(self) -> str:
        """Stride and direction."""
        return f"{'x' if self.options.reverse else '/'}{self.options.stride}"
