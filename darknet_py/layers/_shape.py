"""``Shape`` of the output of a layer."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Shape of a layer's output for one image; a flat vector is ``Shape(n, 1, 1)``.

    Attributes:
        channels: number of channels.
        height: rows of each channel.
        width: columns of each channel.
    """

    channels: int
    height: int
    width: int

    @property
    def floats(self) -> int:
        """Number of values."""
        return self.channels * self.height * self.width

    def describe(self) -> str:
        """Width x height x channels, as Darknet prints shapes."""
        return f"{self.width} x {self.height} x {self.channels}"


class Flattened(Shape):
    """Shape of the vector that ``[route]`` makes of maps of unequal size, which most layers refuse."""

    __slots__ = ()
