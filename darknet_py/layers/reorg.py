"""``[reorg]``: the passthrough of YOLOv2, which moves cells to channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..cfg import Dialect
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._rearrange import Rearrange
from .base import Shape, section


@section("reorg")
class Reorg(Rearrange):
    """Not space-to-depth: the memory is first read as a map ``stride`` times larger (``reorg_cpu``)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Rearrange.Options):
        """Keys of ``parse_reorg``; the last two are pjreddie's."""

        flatten: bool = option(False, "transpose channels and cells instead (pjreddie)")
        extra: int = option(0, "zeros appended to the flattened input (pjreddie)", min=0)

    options: Options
    dtype_agnostic = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.x = x
        s = options.stride
        if not options.reverse and x.channels % (s * s):
            raise ValueError(f"expected a multiple of stride * stride = {s * s} channels, got {x.channels}")
        if self.is_flat and options.extra and not options.flatten:
            self.shape = Shape(x.floats + options.extra, 1, 1)

    @property
    def is_flat(self) -> bool:
        """Whether one of pjreddie's options ``flatten`` and ``extra`` is set."""
        return self.options.dialect is Dialect.PJREDDIE and bool(self.options.flatten or self.options.extra)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, *shape] for ``x`` [batch, channels, height, width]."""
        if self.is_flat:
            return self._forward_flat(x)
        batch, c, h, w = x.shape
        s = self.options.stride
        if self.options.reverse:
            y = x.reshape(batch, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
            return y.reshape(batch, self.shape.channels, h * s, w * s)
        y = x.reshape(batch, c // (s * s), h, s, w, s).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(batch, self.shape.channels, h // s, w // s)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Of a block of ``stride ** 2`` channels, which are interleaved in every output, all go or none."""
        if self.is_flat:
            return super().channel_groups(groups, *inputs)
        blocks = self.options.stride**2
        if self.options.reverse:
            groups.tie_parts(inputs[0], blocks)
            return inputs[0].chunk(blocks)[0]
        rows = inputs[0].view(-1, blocks)
        groups.tie_parts(rows.t().flatten(), blocks)
        return rows[:, 0].repeat(blocks).repeat_interleave(blocks)

    def _forward_flat(self, x: Tensor) -> Tensor:
        """Compute ``forward_reorg_layer`` with ``flatten`` or ``extra``."""
        if self.options.flatten:
            # The reverse direction reads the input as [cells, channels].
            pixels, channels = self.x.height * self.x.width, self.x.channels
            rows = x.reshape(-1, pixels, channels) if self.options.reverse else x.reshape(-1, channels, pixels)
            return rows.transpose(1, 2).reshape(-1, *self.shape)
        return F.pad(x.flatten(1), (0, self.options.extra))[:, :, None, None]
