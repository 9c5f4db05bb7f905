"""Tables of text with aligned columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

WIDTH = 80  # columns of a terminal
_NARROWEST = 8  # of a column whose cells are wrapped


def format_table(rows: Iterable[Sequence[str]], align: str, *, width: int = WIDTH) -> list[str]:
    """Pad the cells of each column to one width and return the lines, columns two spaces apart.

    In a table that is wider than ``width`` the columns are one space apart. If it is still too wide, the cells of its
    widest left-aligned column are wrapped, but to no fewer than 8 characters.

    Args:
        rows: the cells, the same number in every row.
        align: ``<`` or ``>`` for each column; the last one also applies to further columns.
        width: characters of a line.
    """
    table = list(rows)
    if not table:
        return []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = align.ljust(len(widths), align[-1])
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "
    excess = sum(widths) + len(gap) * (len(widths) - 1) - width
    if excess > 0 and "<" in sides:
        widest = max(
            (column for column, side in enumerate(sides[: len(widths)]) if side == "<"), key=widths.__getitem__
        )
        widths[widest] = max(widths[widest] - excess, min(widths[widest], _NARROWEST))
    lines = []
    for row in table:
        wrapped = [
            textwrap.wrap(cell, size) or [""] if len(cell) > size else [cell]
            for cell, size in zip(row, widths, strict=True)
        ]
        for cells in zip_longest(*wrapped, fillvalue=""):
            padded = (f"{cell:{side}{size}}" for cell, side, size in zip(cells, sides, widths, strict=False))
            lines.append(gap.join(padded).rstrip())
    return lines
