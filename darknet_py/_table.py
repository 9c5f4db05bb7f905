"""Tables of text with aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def format_table(rows: Iterable[Sequence[str]], align: str) -> list[str]:
    """Pad the cells of each column to one width and return the lines, columns two spaces apart.

    Args:
        rows: the cells, the same number in every row.
        align: ``<`` or ``>`` for each column; the last one also applies to further columns.
    """
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = align.ljust(len(widths), align[-1])
    cells = ([f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)] for row in table)
    return ["  ".join(line).rstrip() for line in cells]
