"""``draw_diagram``: a network as a figure, rows by resolution, the backbone in the first column."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._typing import StrPath
from ..figures import GREY, INK, LIGHT, figure_format, plain_text, require_figure_class, write_figure
from ..network import INPUT, Network
from .stages import Stage, find_stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".svg", ".png", ".pdf")
_WIDTH, _GAP_X, _GAP_Y = 2.5, 0.75, 0.45  # inches
_LINE, _MARGIN = 0.155, 0.12  # inches
_LANES, _STEP = 3, 0.11  # arrows above a row, and their distance in inches
_CHARACTERS = 32  # in a line
_SIZE = 7.5  # points
_FILL, _OUTPUT_FILL, _ARROW = "#eef4fb", "#fdf0e3", "#8c959f"


def draw_diagram(network: Network, path: StrPath, *, title: str = "") -> None:
    """Write a diagram of the network: its stages, what they compute, and what they read.

    A box is a stage of one resolution: width x height x channels of its output, its layers, and what they compute.
    ``3x3 64 /2`` is a convolution with 64 filters and stride 2, ``8 x [...]`` a repetition. In ``concat (a | b > c)``
    a and b have the same input, and c reads b.

    Args:
        network: The network.
        path: A file with suffix .svg, .png or .pdf.
        title: Text above the diagram; the name of the cfg by default.

    Raises:
        DarknetError: The suffix is another one, matplotlib is not installed, or the file cannot be written.
    """
    form = figure_format(path, _FORMATS, "a diagram")
    figure_class = require_figure_class()
    import matplotlib

    stages = find_stages(network)
    lines = [_wrap(stage) for stage in stages]
    heights = [(1 + len(of_stage)) * _LINE + 2 * _MARGIN for of_stage in lines]
    rows = max(stage.row for stage in stages) + 1
    tallest = [max(h for h, stage in zip(heights, stages, strict=True) if stage.row == row) for row in range(rows)]
    width = (max(stage.column for stage in stages) + 1) * (_WIDTH + _GAP_X) + _GAP_X
    height = sum(tallest) + (rows + 1) * _GAP_Y
    tops = [_GAP_Y + sum(tallest[:row]) + row * _GAP_Y for row in range(rows)]
    head = 0.6
    figure = figure_class(facecolor="white")
    name = plain_text(title or pathlib.Path(network.config.path).name)
    header = [
        figure.text(0, 1 - 0.3 / (height + head), name, fontsize=13, weight="bold", color=INK),
        figure.text(0, 1 - 0.5 / (height + head), _totals(network), fontsize=8, color=GREY),
    ]
    width = max(width, *(text.get_window_extent().width / figure.dpi + 2 * _GAP_X for text in header))
    figure.set_size_inches(width, height + head)
    for text in header:
        text.set_x(_GAP_X / width)
    axes = figure.add_axes((0, 0, 1, height / (height + head)))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    boxes = [
        (_GAP_X + stage.column * (_WIDTH + _GAP_X), tops[stage.row], _WIDTH, box)
        for stage, box in zip(stages, heights, strict=True)
    ]
    _draw_arrows(axes, stages, boxes)
    for stage, of_stage, box in zip(stages, lines, boxes, strict=True):
        _draw_box(axes, stage, of_stage, box)
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text that can be searched, a third of the size
        write_figure(figure, path, format=form, dpi=150)


_Box = tuple[float, float, float, float]  # left, top, width, height in inches


def _totals(network: Network) -> str:
    floats = sum(tensor.numel() for layer in network for _, tensor in layer.stored())
    shape = network.shape.describe()
    return f"input {shape}, {len(network.layers)} layers, {floats:,} floats, {network.flops / 1e9:.3f} BFLOPS"


def _wrap(stage: Stage) -> list[str]:
    return [
        line
        for text in stage.lines
        for line in textwrap.wrap(text, _CHARACTERS, subsequent_indent="   ", break_long_words=False)
    ]


def _draw_box(axes: Axes, stage: Stage, lines: list[str], box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, top, width, height = box
    fill = _OUTPUT_FILL if stage.is_output else _FILL
    style = "round,pad=0,rounding_size=0.06"
    colours: dict[str, Any] = {"facecolor": fill, "edgecolor": LIGHT}
    axes.add_patch(FancyBboxPatch((left, top), width, height, boxstyle=style, linewidth=1, zorder=3, **colours))
    y = top + _MARGIN + _LINE / 2
    numbers = f"{stage.first}-{stage.last}" if stage.last > stage.first else str(stage.first)
    text: dict[str, Any] = {"va": "center", "zorder": 4, "fontsize": _SIZE}
    axes.text(left + _MARGIN, y, stage.shape.describe(), weight="bold", color=INK, **text)
    axes.text(left + width - _MARGIN, y, numbers, ha="right", color=GREY, **text)
    for line in lines:
        y += _LINE
        axes.text(left + _MARGIN, y, plain_text(line), family="monospace", color=INK, **text | {"fontsize": _SIZE - 1})


def _draw_arrows(axes: Axes, stages: Sequence[Stage], boxes: Sequence[_Box]) -> None:
    """Draw what each stage reads: straight within a column, else between the columns and above the rows."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    lanes: dict[int, int] = {}  # arrows above each row so far
    for stage, box in zip(stages, boxes, strict=True):
        for number in stage.sources:
            if number == INPUT:
                continue
            source, start = stages[number], boxes[number]
            between = (other for other in stages if other.column == stage.column)
            rows = sorted((source.row, stage.row))
            if source.column == stage.column and not any(rows[0] < other.row < rows[1] for other in between):
                points = _vertical(start, box)
            elif source.column + 1 == stage.column:
                points = _to_the_right(start, box)
            else:
                lane = lanes[stage.row] = lanes.get(stage.row, -1) + 1
                points = _above(start, box, lane)
            style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "joinstyle": "round", "fill": False}
            axes.add_patch(FancyArrowPatch(path=Path(points), color=_ARROW, linewidth=1.1, zorder=2, **style))


def _vertical(start: _Box, end: _Box) -> list[tuple[float, float]]:
    x = start[0] + start[2] / 2
    return [(x, start[1] + start[3]), (x, end[1])] if end[1] > start[1] else [(x, start[1]), (x, end[1] + end[3])]


def _to_the_right(start: _Box, end: _Box) -> list[tuple[float, float]]:
    x, y, other_y = (start[0] + start[2] + end[0]) / 2, _side(start), _side(end)
    return [(start[0] + start[2], y), (x, y), (x, other_y), (end[0], other_y)]


def _above(start: _Box, end: _Box, lane: int) -> list[tuple[float, float]]:
    shift = _STEP * (lane % _LANES)
    y = end[1] - _STEP - shift
    left, right = start[0] + start[2] + _GAP_X / 4 + shift, end[0] - _GAP_X / 4 - shift
    leave, reach = _side(start), _side(end) + _STEP
    return [(start[0] + start[2], leave), (left, leave), (left, y), (right, y), (right, reach), (end[0], reach)]


def _side(box: _Box) -> float:
    """Height at which arrows leave and reach a box: in its first line."""
    return box[1] + _MARGIN + _LINE / 2
