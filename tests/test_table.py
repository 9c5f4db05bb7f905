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


def test_a_wide_table_has_narrow_gaps_and_then_wraps_its_widest_text_column() -> None:
    rows = [("n", "options", "ms"), ("10", "80 classes, anchors 3,4,5", "1.50"), ("3", "2x2", "0.1")]
    assert format_table(rows, "><>", width=33) == [
        " n options                     ms",
        "10 80 classes, anchors 3,4,5 1.50",
        " 3 2x2                        0.1",
    ]
    assert format_table(rows, "><>", width=22) == [
        " n options          ms",
        "10 80 classes,    1.50",
        "   anchors 3,4,5",
        " 3 2x2             0.1",
    ]


def test_a_column_is_wrapped_to_eight_characters_at_least_and_not_padded_to_them() -> None:
    assert format_table([("abcdefghij", "1"), ("ab", "2")], "<>", width=4) == ["abcdefgh 1", "ij", "ab       2"]
    assert format_table([("abc", "1" * 9)], "<>", width=4) == ["abc 111111111"]
