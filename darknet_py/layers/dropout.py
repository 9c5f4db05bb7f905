"""``[dropout]``: identity at inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from .base import Layer, Shape, section

_BLOCK = 7  # default side of the blocks


@section("dropout")
class Dropout(Layer):
    """Zeroes values with ``probability`` in training and scales up the others; with ``dropblock``, blocks of values."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_dropout``."""

        probability: float = option(0.2, "probability that a value is zeroed", train=True, min=0, max=1)
        dropblock: bool = option(False, "zero blocks of cells instead (DropBlock)", train=True)
        dropblock_size_rel: float = option(0.0, "side of the blocks, relative to the map", train=True, min=0, max=1)
        dropblock_size_abs: float = option(0.0, "side of the blocks in cells", train=True, min=0, max=65536)

    options: Options
    uses_context = True
    reads_vectors = True
    dtype_agnostic = True

    def is_identity(self, *inputs: Shape) -> bool:
        """In eval mode."""
        return True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return ``x`` [batch, channels, height, width] with values dropped; same shape."""
        if self.training and self.options.dropblock:
            return self._drop_blocks(x, context)
        return F.dropout(x, self.options.probability, self.training)

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input."""
        return inputs[0]

    def _drop_blocks(self, x: Tensor, context: StepContext | None) -> Tensor:
        """Zero at most one block of each channel, which grow during training (``dropblock_fast_kernel``)."""
        growth = 1.0
        if context is not None:
            growth = min(1.0, context.iteration / max(0.85 * context.max_batches, 1))
        side = self._side(x, growth)
        batch, channels, height, width = x.shape
        minimum, position = torch.rand(batch, channels, height * width, device=x.device).min(dim=2)
        hit = minimum < self.options.probability * growth / side**2
        top = _clamp_start(position // width, height - side)
        left = _clamp_start(position % width, width - side)
        rows = torch.arange(height, device=x.device) - top[..., None]
        columns = torch.arange(width, device=x.device) - left[..., None]
        block = ((rows >= 0) & (rows < side))[..., None] & ((columns >= 0) & (columns < side))[..., None, :]
        kept = ~(block & hit[..., None, None])
        return x * kept / kept.to(x.dtype).mean(dim=(1, 2, 3), keepdim=True)

    def _side(self, x: Tensor, growth: float) -> int:
        """Side of a block in cells."""
        height, width = x.shape[2:]
        absolute = self.options.dropblock_size_abs
        relative = self.options.dropblock_size_rel
        if relative and not absolute:
            return max(1, min(int(relative * height * growth), int(relative * width * growth), height, width))
        return max(1, min(int((absolute or _BLOCK) * growth), height, width))

    def describe(self) -> str:
        """The probability."""
        return f"p={self.options.probability:g}"


def _clamp_start(start: Tensor, last: int) -> Tensor:
    """Move blocks into the map: as in C, a start beyond ``last`` is reduced by ``last`` instead of being clamped."""
    return torch.where(start > last, start - last, start).clamp(0, last)
