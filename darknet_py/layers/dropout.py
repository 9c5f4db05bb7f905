"""``[dropout]``: identity at inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._context import StepContext
from .base import Layer, Shape, section

_BLOCK = 7  # side of the squares where the section gives none


@section("dropout")
class Dropout(Layer):
    """In training, values are zeroed with ``probability`` and the rest scaled up."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_dropout``."""

        probability: float = option(0.2, "share of values that is zeroed", train=True)
        dropblock: bool = option(False, "zero blocks of cells instead (DropBlock)", train=True)
        dropblock_size_rel: float = option(0.0, "side of the blocks, relative to the map", train=True)
        dropblock_size_abs: float = option(0.0, "side of the blocks in cells", train=True)

    options: Options
    uses_context = True
    dtype_agnostic = True

    def is_identity(self, *inputs: Shape) -> bool:
        """In eval mode."""
        return True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Shape kept."""
        if self.training and self.options.dropblock:
            return self._without_blocks(x, context)
        return F.dropout(x, self.options.probability, self.training)

    def _without_blocks(self, x: Tensor, context: StepContext | None) -> Tensor:
        """Zero at most one square of each channel (``dropblock_fast_kernel``), rarer and smaller at first."""
        grown = 1.0
        if context is not None:
            grown = min(1.0, context.iteration / max(0.85 * context.max_batches, 1))
        side = self._side(x, grown)
        batch, channels, height, width = x.shape
        chance = torch.rand(batch, channels, height * width, device=x.device)
        least, place = chance.min(dim=2)
        hit = least < self.options.probability * grown / side**2
        top = _inside(place // width, height - side)
        left = _inside(place % width, width - side)
        rows = torch.arange(height, device=x.device) - top[..., None]
        columns = torch.arange(width, device=x.device) - left[..., None]
        block = ((rows >= 0) & (rows < side))[..., None] & ((columns >= 0) & (columns < side))[..., None, :]
        kept = ~(block & hit[..., None, None])
        return x * kept / kept.to(x.dtype).mean(dim=(1, 2, 3), keepdim=True)

    def _side(self, x: Tensor, grown: float) -> int:
        """Cells along an edge of a square."""
        height, width = x.shape[2:]
        absolute, relative = self.options.dropblock_size_abs, self.options.dropblock_size_rel
        if relative and not absolute:
            return max(1, min(int(relative * height * grown), int(relative * width * grown), height, width))
        return max(1, min(int((absolute or _BLOCK) * grown), height, width))

    def describe(self) -> str:
        """The probability."""
        return f"p={self.options.probability:g}"


def _inside(place: Tensor, room: int) -> Tensor:
    """Where squares start: C wraps what is beyond the last place round instead of moving it back."""
    return torch.where(place > room, place - room, place).clamp(0, room)
