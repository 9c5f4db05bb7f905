"""``[dropout]``: identity at inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..schema import option
from .base import Layer, section


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

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return F.dropout(x, self.options.probability, self.training)

    def describe(self) -> str:
        """The probability."""
        return f"p={self.options.probability:g}"
