"""``draw``: the loss chart that Darknet's users know: average loss in blue, mAP in red, as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..._typing import StrPath
from ...figures import import_figure_class, plain_text, write_figure

_MAX_DOTS = 4000  # of the loss
_PIXELS = 1000
_BLUE, _RED, _GRID, _INK = "#1b5fd1", "#d1242f", "#d8dee4", "#24292f"

Curve = Sequence[tuple[int, float]]


def draw(
    path: StrPath,
    losses: Curve,
    scores: Curve,
    *,
    title: str,
    text: str,
    max_batches: int,
    max_loss: float,
    score_name: str = "mAP",
) -> None:
    """Write the chart as a PNG of 1000 x 1000 pixels.

    Args:
        path: The file.
        losses: Iteration and average loss.
        scores: Iteration and score in 0..1.
        title: Text above the chart.
        text: Text below the chart.
        max_batches: Iteration at the right edge.
        max_loss: Loss at the upper edge; higher values and NaN are drawn there too.
        score_name: What the scores are.

    Raises:
        ImportError: matplotlib is not installed.
        DataError: The file cannot be written.
    """
    figure = import_figure_class()(figsize=(10, 10), dpi=_PIXELS / 10, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    shown = losses[:: max(1, -(-len(losses) // _MAX_DOTS))]
    x = [iteration for iteration, _ in shown]
    y = [max_loss if math.isnan(loss) else min(loss, max_loss) for _, loss in shown]
    axes.scatter(x, y, s=5, color=_BLUE, linewidths=0, clip_on=False, zorder=3)
    axes.set(xlim=(0, max(max_batches, 1)), ylim=(0, max_loss), xlabel=text)
    axes.set_title(plain_text(title), loc="left", color=_INK, fontsize=12)
    axes.set_ylabel("average loss", color=_BLUE, fontsize=11)
    axes.xaxis.label.set(color=_INK, fontsize=11)
    axes.locator_params(nbins=10)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if scores:
        right = axes.twinx()
        right.set(ylim=(0, 100))
        right.set_ylabel(f"{score_name}, %", color=_RED, fontsize=11)
        right.plot(*zip(*((i, 100 * score) for i, score in scores), strict=True), color=_RED, marker="o", markersize=4)
        best = max(scores, key=lambda point: point[1])
        for iteration, score in dict.fromkeys((best, scores[-1])):
            place = {"textcoords": "offset points", "xytext": (0, 7), "ha": "right"}
            right.annotate(f"{100 * score:.1f}%", (iteration, 100 * score), color=_RED, **place)  # type: ignore[arg-type]
        _remove_spines(right)
    _remove_spines(axes)
    write_figure(figure, path, format="png")


def _remove_spines(axes: object) -> None:
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(side == "bottom")  # type: ignore[attr-defined]
    axes.tick_params(length=0, colors=_INK)  # type: ignore[attr-defined]
