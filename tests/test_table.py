"""Tables of text."""

from __future__ import annotations

from darknet_py._table import format_table


def test_columns_have_one_width_and_their_own_alignment() -> None:
    rows = [("n", "name", "ms", "share"), ("10", "conv", "1.5", "7%"), ("3", "maxpool", "", "")]
    assert format_table(rows, "><>") == [
        " n  name      ms  share",
        "10  conv     1.5     7%",
        " 3  maxpool",
    ]


def test_a_table_without_rows_has_no_lines() -> None:
    assert format_table([], "<") == []
