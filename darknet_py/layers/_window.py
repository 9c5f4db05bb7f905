"""``Window``: the cells of its input that a cell of a layer's output depends on."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """Rows and columns of the input that one cell of the output depends on.

    Attributes:
        height: rows; 0: all.
        width: columns; 0: all.
        stride_y: rows of the input between two rows of the output; below 1 where the map is enlarged.
        stride_x: columns of the input between two columns of the output.
    """

    height: int = 1
    width: int = 1
    stride_y: float = 1
    stride_x: float = 1


WHOLE_MAP = Window(0, 0)
