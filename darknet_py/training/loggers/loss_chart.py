"""``LossChart``: the chart of a run, drawn while it trains."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..._typing import StrPath
from ..callbacks import Callback, EndEvent, EvaluationEvent, StartEvent, StepEvent
from ..metrics import IterationMetrics
from . import loss_plot
from .csv_log import previous_rows

_INTERVAL = 5.0  # seconds between charts
_EVERY = 100  # iterations between charts


class LossChart(Callback):
    """Draws average loss and score over the iterations, into ``FOLDER/chart_NAME.png``; none without matplotlib.

    A resumed run continues the chart from NAME_log.csv.

    Args:
        path: The file instead.
        max_loss: Loss at the upper edge.
        message: Called with a sentence if there can be no chart.
    """

    def __init__(
        self, path: StrPath | None = None, *, max_loss: float = 20.0, message: Callable[[str], object] | None = None
    ) -> None:
        self._path = path
        self._max_loss = max_loss
        self._message = message
        self._start: StartEvent | None = None
        self._metrics: IterationMetrics | None = None
        self._losses: list[tuple[int, float]] = []
        self._scores: list[tuple[int, float]] = []
        self._drawn_at = 0.0

    def on_start(self, event: StartEvent) -> None:
        """Take the points of the run that is resumed."""
        self._start = event
        self._path = self._path or event.folder / f"chart_{event.name}.png"
        for row in previous_rows(event):
            self._losses.append((int(row["iteration"]), float(row["avg_loss"])))
            if row.get("map"):
                self._scores.append((int(row["iteration"]), float(row["map"])))

    def on_step(self, event: StepEvent) -> None:
        """Add a point, and draw every 100 iterations."""
        self._metrics = event.metrics
        self._losses.append((event.iteration, event.metrics.average_loss))
        if event.iteration % _EVERY == 0 and not event.evaluation_follows:
            self._draw_seldom()

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Add a score, and draw."""
        self._scores.append((event.iteration, event.score))
        self._draw_seldom()

    def on_end(self, event: EndEvent) -> None:
        """Draw the whole run."""
        self._draw()

    def _draw_seldom(self) -> None:
        """Draw, unless that was done less than five seconds ago."""
        if time.monotonic() - self._drawn_at >= _INTERVAL:
            self._draw()

    def _draw(self) -> None:
        if self._start is None or self._metrics is None or self._path is None:
            return
        metrics, max_batches = self._metrics, self._start.max_batches
        text = f"avg loss {metrics.average_loss:.4f}   iteration {metrics.iteration}"
        text += f" of {max_batches}, {metrics.hours_left:.2f} hours left" if max_batches else ""
        try:
            loss_plot.draw(
                os.fspath(self._path),
                self._losses,
                self._scores,
                title=self._start.name,
                text=text,
                max_batches=max_batches or metrics.iteration,
                max_loss=self._max_loss,
                score_name=self._start.score_name,
            )
        except ImportError as error:
            if self._message is not None:
                self._message(f"no chart: {error}")
            self._path = None
        self._drawn_at = time.monotonic()
