"""``Concatenate``: maps of one size concatenated along the channels, which PyTorch_YOLOv4's routes share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from ..cfg.schema import option
from ._join import Join
from .base import Shape, resolve_indices


class Concatenate(Join):
    """Base of ``[route_lhalf]``, ``[route2]`` and ``[route3]``; unlike ``[route]`` they refuse maps of unequal size."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Join.Options):
        """Keys of PyTorch_YOLOv4's sections, and those that ``[route]`` shares with them."""

        layers: tuple[int, ...] = option(
            MISSING, "numbers of the layers to concatenate; negative: relative to this one", layers=True
        )

        def sources(self, index: int) -> tuple[int, ...]:
            """The layers of ``layers``."""
            return resolve_indices(self.layers, index)

    options: Options

    def __init__(self, options: Options, *inputs: Shape) -> None:
        super().__init__(options, *inputs)
        if len({x[1:] for x in inputs}) > 1:
            sizes = ", ".join(f"{x.width} x {x.height}" for x in inputs)
            raise ValueError(f"expected layers of equal width and height, got {sizes}")
        self.shape = inputs[0]._replace(channels=sum(x.channels for x in inputs))

    def describe(self) -> str:
        """Sources."""
        return " ".join(map(str, self.options.layers))
