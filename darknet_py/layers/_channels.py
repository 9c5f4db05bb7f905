"""``Channels``: a vector combined with a map, which ``[shift_channels]`` and ``[control_channels]`` share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from ..cfg.schema import option
from ._join import Join
from .base import Shape, resolve_indices


class Channels(Join):
    """The previous layer is the map, and ``from`` the vector with one value per channel, or a map of the same shape."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Join.Options):
        """Keys of YOLOR's section."""

        from_: int = option(
            MISSING, "number of the layer with the vector; negative: relative to this one", key="from", layers=True
        )

        def sources(self, index: int) -> tuple[int, ...]:
            """The layer before and ``from``."""
            return (index - 1, *resolve_indices((self.from_,), index))

    options: Options

    def __init__(self, options: Options, x: Shape, vector: Shape) -> None:
        super().__init__(options, x, vector)
        if vector not in (x, Shape(x.channels, 1, 1)):
            raise ValueError(f"expected {x.channels} values in the layer of from=, got {tuple(vector)}")

    def describe(self) -> str:
        """Source."""
        return str(self.options.from_)
