"""``draw``: the chart of a training as Darknet's users know it: average loss in blue, mAP in red, as a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from .._typing import StrPath
from ..errors import DataError
from ..evaluation.plots import figure_class
from ..files import atomic_write

_DOTS = 4000  # of the loss; more cannot be told apart
_PIXELS = 1000
_BLUE, _RED, _GRID, _INK = "#1b5fd1", "#d1242f", "#d8dee4", "#24292f"

Curve = Sequence[tuple[int, float]]


def draw(
    path: StrPath, losses: Curve, scores: Curve, *, title: str, text: str, last: int, top: float, measured: str = "mAP"
) -> None:
    """Write the chart.

    ``losses``: iteration and average loss. ``scores``: iteration and what is ``measured``, in 0..1. ``last``:
    iteration at the right edge, ``top``: loss at the upper one, where what is higher is drawn too. ``text``: line
    below. Raises ImportError without matplotlib, DataError where the file cannot be written.
    """
    figure = figure_class()(figsize=(10, 10), dpi=_PIXELS / 10, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    shown = losses[:: max(1, -(-len(losses) // _DOTS))]
    x, y = [iteration for iteration, _ in shown], [min(loss, top) if loss == loss else top for _, loss in shown]
    axes.scatter(x, y, s=5, color=_BLUE, linewidths=0, clip_on=False, zorder=3)
    axes.set(xlim=(0, max(last, 1)), ylim=(0, top), xlabel=text)
    axes.set_title(title, loc="left", color=_INK, fontsize=12)
    axes.set_ylabel("average loss", color=_BLUE, fontsize=11)
    axes.xaxis.label.set(color=_INK, fontsize=11)
    axes.locator_params(nbins=10)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if scores:
        right = axes.twinx()
        right.set(ylim=(0, 100))
        right.set_ylabel(f"{measured}, %", color=_RED, fontsize=11)
        right.plot(*zip(*((i, 100 * score) for i, score in scores), strict=True), color=_RED, marker="o", markersize=4)
        best = max(scores, key=lambda point: point[1])
        for iteration, score in dict.fromkeys((best, scores[-1])):
            place = {"textcoords": "offset points", "xytext": (0, 7), "ha": "right"}
            right.annotate(f"{100 * score:.1f}%", (iteration, 100 * score), color=_RED, **place)  # type: ignore[arg-type]
        _plain(right)
    _plain(axes)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    try:
        with atomic_write(path) as file:
            file.write(content.getvalue())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _plain(axes: object) -> None:
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(side == "bottom")  # type: ignore[attr-defined]
    axes.tick_params(length=0, colors=_INK)  # type: ignore[attr-defined]
