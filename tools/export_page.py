"""The tables of docs/export.md, out of the figures that export_table.py measured."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from darknet_py.files import atomic_write

Figures = Mapping[str, Mapping[str, Any]]
COLUMNS = ("onnx", "boxes", "nms", "pt2", "size", "openvino")

# What a runtime or a refusal says, and what that means to a reader.
REASONS = {
    "a state is a second input": "recurrent: the state is a second input, which was not tried here",
    "the input is a vector": "the input is a vector, which has one length",
    "1 + (-1 + x.size()[2]) // 16 == 1": "the cfg's input is smaller than the network's stride",
    "Not all values of": "one size: `[connected]`, `[local]`, `[crop]` or a recurrent map asks for it",
    "the network has one size": "one size: `[connected]`, `[local]`, `[crop]` or a recurrent map asks for it",
    "function 'OutOfMemoryError'": "OpenCV 4 asks for terabytes in the softmax over a tree",
    "exit status -": "OpenCV 4 asks for terabytes in the softmax over a tree",
    "scatter_layer.cpp": "OpenCV 5 cannot scatter as the softmax over a tree does",
    "Mixed input data types": "OpenCV 4 cannot calculate with the integers that `[local]` finds its cells by",
    "paddings[i].second >= 0": "OpenCV 4 has no negative padding, as of a pooling that leaves cells out",
    "in function 'convInferShape'": "OpenCV 5 stops at a convolution whose weights it does not find",
}


def write(figures: Figures, page: pathlib.Path) -> None:
    """Put the summary and the table into the page."""
    versions = sorted({key for row in figures.values() for key in row if key.startswith("OpenCV")})
    columns = (*COLUMNS, *versions)
    text = _between(page.read_text(), "summary", _summary(figures, columns))
    with atomic_write(page, "w") as file:
        file.write(_between(text, "table", _table(figures, columns)))


def _summary(figures: Figures, columns: Sequence[str]) -> list[str]:
    """How many networks each target takes, and how far the worst is off."""
    lines = ["| target | networks | largest difference | not |", "|---|---:|---|---|"]
    for column in columns:
        cells = {name: row[column] for name, row in figures.items() if row.get(column, "") != ""}
        good = {name: value for name, value in cells.items() if isinstance(value, float)}
        worst = max(good, key=lambda name: good[name], default="")
        kinds = {reason(value) for value in cells.values() if isinstance(value, str)}
        far = f"{good[worst]:.0e} ({worst})" if worst and good[worst] else "0"
        lines.append(f"| {column} | {len(good)} of {len(cells)} | {far} | {'; '.join(sorted(kinds))} |")
    return lines


def _table(figures: Figures, columns: Sequence[str]) -> list[str]:
    notes: dict[str, int] = {}
    lines = ["| network | layers | input | " + " | ".join(columns) + " |", "|---|---:|---|" + "---|" * len(columns)]
    for name, row in sorted(figures.items()):
        cells = [_shown(row.get(column, ""), notes) for column in columns]
        random = "*" if row["weights"] == "random" else ""
        lines.append(f"| {name} | {row['layers']} | {row['input']}{random} | " + " | ".join(cells) + " |")
    return [*lines, "", *(f"{number}. {text}" for text, number in notes.items())]


def _between(text: str, what: str, lines: Sequence[str]) -> str:
    """``text`` with the lines between its two marks of that name."""
    start, end = f"<!-- {what}: tools/export_table.py -->", f"<!-- end of {what} -->"
    before, _, rest = text.partition(start)
    return "\n".join([before + start, "", *lines, "", end]) + rest.partition(end)[2]


def _shown(value: float | str, notes: dict[str, int]) -> str:
    """A number, or the number of a note."""
    if isinstance(value, float):
        return f"{value:.0e}" if value else "0"
    return f"no ({notes.setdefault(reason(value), len(notes) + 1)})" if value else ""


def reason(text: str) -> str:
    """Why not, in words where they are known."""
    known = (words for part, words in REASONS.items() if part in text)
    return next(known, " ".join(text.rpartition(".cfg: ")[2].split())[:150])
