"""``[iseg]``: pjreddie's instance segmentation head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg.schema import option
from .base import Layer, Shape, section


@section("iseg")
class Iseg(Layer):
    """Applies the sigmoid to the class maps and returns the ``ids`` embedding maps unchanged; inference only."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_iseg``."""

        classes: int = option(20, "class maps", min=0, max=1048576)
        ids: int = option(32, "embedding maps", min=0, max=1048576)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if x.channels != options.classes + options.ids:
            raise ValueError(f"expected classes + ids = {options.classes + options.ids} channels, got {x.channels}")

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated maps of ``x``, float [batch, classes + ids, height, width]; same shape."""
        classes = self.options.classes
        return torch.cat((torch.sigmoid(x[:, :classes]), x[:, classes:]), dim=1)

    def describe(self) -> str:
        """Classes and ids."""
        return f"{self.options.classes} classes {self.options.ids} ids"
