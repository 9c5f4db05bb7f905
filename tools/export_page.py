"""Write the tables of docs/export.md from the results of export_table.py."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from darknet_py.files import atomic_write

Figures = Mapping[str, Mapping[str, Any]]
_TOOL = "tools/export_table.py"
COLUMNS = ("onnx", "boxes", "nms", "pt2", "size", "openvino", "ncnn", "tflite", "coreml")

# Parts of error messages, and what they mean.
_FIXED_SIZE = "fixed size because of `[connected]`, `[local]`, `[crop]` or a convolutional recurrent layer"
REASONS = {
    "does not keep the state of recurrent layers": "recurrent: the target keeps no state",
    "a state is a second input": "recurrent: the state is a second input, not tested here",
    "the input is a vector": "vector input, fixed size",
    "1 + (-1 + x.size()[2]) // 16 == 1": "the cfg's input is smaller than the network's stride",
    "Not all values of": _FIXED_SIZE,
    "the network has a fixed input size": _FIXED_SIZE,
    "function 'OutOfMemoryError'": "OpenCV 4 allocates terabytes in the softmax over a class tree",
    "exit status -": "OpenCV 4 allocates terabytes in the softmax over a class tree",
    "scatter_layer.cpp": "OpenCV 5 does not support the scatter of the softmax over a class tree",
    "Mixed input data types": "OpenCV 4 does not support the integer arithmetic of `[local]`",
    "outputs differ from PyTorch": "random weights in 171 layers: outputs up to 1e4, whose exponential is compared",
    "in function 'convInferShape'": "OpenCV 5 does not find the weights of a convolution",
}


def write(figures: Figures, page: pathlib.Path) -> None:
    """Write the summary and the table into the page."""
    versions = sorted({key for row in figures.values() for key in row if key.startswith("OpenCV")})
    columns = [name for name in (*COLUMNS, *versions) if any(name in row for row in figures.values())]
    text = replace_block(page.read_text(), "summary", _TOOL, _summary(figures, columns))
    with atomic_write(page, "w") as file:
        file.write(replace_block(text, "table", _TOOL, _table(figures, columns)))


def replace_block(text: str, name: str, tool: str, lines: Sequence[str]) -> str:
    """Return ``text`` with other lines between the two comments that mark a block."""
    start, end = f"<!-- {name}: {tool} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    return "\n".join([before + start, "", *lines, "", end]) + rest.partition(end)[2]


def _summary(figures: Figures, columns: Sequence[str]) -> list[str]:
    """For each target: the number of supported networks, the largest difference, and reasons of failures."""
    lines = ["| target | networks | largest difference | boxes, pixels | not |", "|---|---:|---|---|---|"]
    for column in columns:
        cells = {name: row[column] for name, row in figures.items() if row.get(column, "") != ""}
        good = {name: value for name, value in cells.items() if isinstance(value, float)}
        worst = max(good, key=lambda name: good[name], default="")
        reasons = {reason(value) for value in cells.values() if isinstance(value, str)}
        largest = f"{good[worst]:.0e} ({worst})" if worst and good[worst] else "0"
        pixels = max((row[key] for row in figures.values() if (key := f"{column} pixels") in row), default=None)
        boxes = "" if pixels is None else f"{pixels:.0e}"
        lines.append(f"| {column} | {len(good)} of {len(cells)} | {largest} | {boxes} | {'; '.join(sorted(reasons))} |")
    return lines


def _table(figures: Figures, columns: Sequence[str]) -> list[str]:
    notes: dict[str, int] = {}
    lines = ["| network | layers | input | " + " | ".join(columns) + " |", "|---|---:|---|" + "---|" * len(columns)]
    for name, row in sorted(figures.items()):
        cells = [_format_cell(row.get(column, ""), notes) for column in columns]
        random = "*" if row["weights"] == "random" else ""
        lines.append(f"| {name} | {row['layers']} | {row['input']}{random} | " + " | ".join(cells) + " |")
    return [*lines, "", *(f"{number}. {text}" for text, number in notes.items())]


def _format_cell(value: float | str, notes: dict[str, int]) -> str:
    """Format a difference, or the number of the note that explains an error."""
    if isinstance(value, float):
        return f"{value:.0e}" if value else "0"
    return f"no ({notes.setdefault(reason(value), len(notes) + 1)})" if value else ""


def reason(text: str) -> str:
    """Return what an error message means, or its start."""
    meanings = (meaning for part, meaning in REASONS.items() if part in text)
    return next(meanings, " ".join(text.rpartition(".cfg: ")[2].split())[:150])
