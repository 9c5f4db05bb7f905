"""``MetricLogger``: what a training run reports: lines on stderr, a CSV file, a loss chart, TensorBoard.

The lines are Darknet's: iteration, loss, average loss, rate, seconds, images, hours left, followed by images per
second; above them the numbers of each layer with a loss. Of iterations that are faster than two a second not all are
printed; NAME_log.csv has every one, and a resumed run continues its chart from there.
"""

from __future__ import annotations

import contextlib
import csv
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._typing import StrPath
from ..errors import DarknetError, DataError
from ..files import atomic_write

_PRINT_INTERVAL = 0.5  # seconds between printed iterations
_CHART_INTERVAL = 5.0  # seconds between charts
_CHART_EVERY = 100  # iterations between charts
_COLUMNS = ("iteration", "loss", "avg_loss", "lr", "seconds", "images", "images_per_second", "map")

LayerMetrics = Mapping[int, Mapping[str, float]]  # by layer number, then by name


@dataclass(frozen=True)
class IterationMetrics:
    """The numbers of one iteration.

    Attributes:
        iteration: Number of updates made.
        loss: Loss per image.
        average_loss: Its running average.
        lr: The learning rate.
        seconds: Duration of the iteration.
        images: Images trained on so far.
        images_per_second: Average since the start of the run.
        hours_left: Estimate until max_batches.
        layers: The numbers of each layer with a loss.
        mini_batches: The same for each mini-batch.
        score: mAP or accuracy in 0..1, if it was computed after this iteration.
    """

    iteration: int
    loss: float
    average_loss: float
    lr: float
    seconds: float
    images: int
    images_per_second: float
    hours_left: float
    layers: LayerMetrics = field(default_factory=dict)
    mini_batches: Sequence[LayerMetrics] = ()
    score: float | None = None

    def lines(self) -> str:
        """The lines to print, as Darknet does."""
        rows = [f"  layer {layer}: {_format_metrics(metrics)}" for layer, metrics in self.layers.items()]
        text = f"{self.iteration}: {self.loss:.6f}, {self.average_loss:.6f} avg loss, {self.lr:.6g} rate, "
        text += f"{self.seconds:.6f} seconds, {self.images} images, {self.hours_left:.2f} hours left, "
        text += f"{self.images_per_second:.1f} images/s"
        return "\n".join((*rows, text))

    def row(self) -> dict[str, str]:
        """The row of the CSV file, by column; a column "LAYER.NAME" for each number of a layer."""
        values = (
            str(self.iteration),
            f"{self.loss:.9g}",
            f"{self.average_loss:.9g}",
            f"{self.lr:.9g}",
            f"{self.seconds:.4f}",
            str(self.images),
            f"{self.images_per_second:.2f}",
            "" if self.score is None else f"{self.score:.6f}",
        )
        layers = {
            f"{layer}.{name}": f"{v:.6g}" for layer, metrics in self.layers.items() for name, v in metrics.items()
        }
        return dict(zip(_COLUMNS, values, strict=True)) | layers


class Throughput:
    """Speed of a run: images per second since its start, and from it the time left."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._iterations = 0

    def update(self) -> None:
        """Count an iteration."""
        self._iterations += 1

    def images_per_second(self, images_per_iteration: int) -> float:
        """Average since the start."""
        return images_per_iteration * self._iterations / max(time.monotonic() - self._start, 1e-9)

    def hours_left(self, iteration: int, max_batches: int) -> float:
        """Time until ``max_batches`` at the average speed so far; 0 if training has no end."""
        seconds = time.monotonic() - self._start
        return (max_batches - iteration) * seconds / self._iterations / 3600 if max_batches else 0.0


class MetricLogger:
    """Reports the progress of a training run.

    Args:
        folder: Where the files are written.
        name: Stem of the files.
        start: Iterations made before; rows of the CSV up to there are kept.
        max_batches: Iteration at which training ends; 0 for never.
        max_chart_loss: Loss at the upper edge of the chart.
        chart: File of the chart instead of chart_NAME.png; empty for none.
        tensorboard: Whether to write event files too.
        verbose: Whether to print.
        score_name: What scores are, such as "mAP".

    Raises:
        DarknetError: A package that is needed is not installed.
    """

    def __init__(
        self,
        folder: StrPath,
        name: str,
        *,
        start: int = 0,
        max_batches: int = 0,
        max_chart_loss: float = 20.0,
        chart: StrPath | None = None,
        tensorboard: bool = False,
        verbose: bool = True,
        score_name: str = "mAP",
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.name = name
        self.max_batches = max_batches
        self.max_chart_loss = max_chart_loss
        self.verbose = verbose
        self.score_name = score_name
        self.log = self.folder / f"{name}_log.csv"
        self.chart = self.folder / f"chart_{name}.png" if chart is None else chart
        self.losses: list[tuple[int, float]] = []
        self.scores: list[tuple[int, float]] = []
        self._summary_writer = self._open_tensorboard(start) if tensorboard else None
        self._columns: list[str] = []
        self._file: Any = None
        self._previous_rows = self._read_previous(start)
        self._printed_at = 0.0
        self._charted_at = 0.0

    def message(self, text: str) -> None:
        """Print a line on stderr; if nobody reads that any more, print nothing from then on."""
        if self.verbose:
            try:
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()
            except (OSError, ValueError):  # a closed pipe or terminal; a closed stream
                self.verbose = False

    def print_iteration(self, metrics: IterationMetrics) -> None:
        """Print an iteration, unless another was printed less than half a second ago."""
        now = time.monotonic()
        if now - self._printed_at >= _PRINT_INTERVAL or metrics.iteration == self.max_batches:
            self._printed_at = now
            self.message(metrics.lines())

    def record(self, metrics: IterationMetrics) -> None:
        """Add an iteration to the CSV file, the chart and TensorBoard."""
        row = metrics.row()
        if self._file is None:
            self._open_log(list(row))
        try:
            csv.DictWriter(self._file, self._columns, "", "ignore").writerow(row)
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.log}: {error.strerror or error}") from error
        self.losses.append((metrics.iteration, metrics.average_loss))
        if metrics.score is not None:
            self.scores.append((metrics.iteration, metrics.score))
        if self._summary_writer is not None:
            for key, text in row.items():
                if key not in ("iteration", "images") and text:
                    group = "" if key in _COLUMNS else "layer "
                    self._summary_writer.add_scalar(group + key.replace(".", "/"), float(text), metrics.iteration)
        if self.chart and (metrics.iteration % _CHART_EVERY == 0 or metrics.score is not None):
            self.draw_chart(metrics)

    def draw_chart(self, metrics: IterationMetrics, *, force: bool = False) -> None:
        """Draw the chart, unless it was drawn less than five seconds ago; without matplotlib there is none."""
        from . import loss_plot

        if not self.chart or not (force or time.monotonic() - self._charted_at >= _CHART_INTERVAL):
            return
        text = f"avg loss {metrics.average_loss:.4f}   iteration {metrics.iteration}"
        text += f" of {self.max_batches}, {metrics.hours_left:.2f} hours left" if self.max_batches else ""
        try:
            loss_plot.draw(
                self.chart,
                self.losses,
                self.scores,
                title=self.name,
                text=text,
                max_batches=self.max_batches or metrics.iteration,
                max_loss=self.max_chart_loss,
                score_name=self.score_name,
            )
        except ImportError as error:
            self.message(f"no chart: {error}")
            self.chart = ""
        self._charted_at = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk, which has ended the run already
                self._file.close()
        if self._summary_writer is not None:
            self._summary_writer.close()

    def _read_previous(self, start: int) -> list[dict[str, str]]:
        """Complete rows up to iteration ``start`` of an earlier part of this run; a crash can truncate the last."""
        rows: list[dict[str, str]] = []
        if start and self.log.is_file():
            with open(self.log, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    is_complete = (row["iteration"] or "").isdigit() and None not in row.values()
                    if is_complete and int(row["iteration"]) <= start:
                        rows.append(row)
        for row in rows:
            self.losses.append((int(row["iteration"]), float(row["avg_loss"])))
            if row.get("map"):
                self.scores.append((int(row["iteration"]), float(row["map"])))
        return rows

    def _open_log(self, columns: Sequence[str]) -> None:
        """Rewrite the CSV file with the rows that are kept, and open it to append."""
        self._columns = list(dict.fromkeys((*columns, *(self._previous_rows[0] if self._previous_rows else ()))))
        try:
            with atomic_write(self.log, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns, "", "ignore")
                writer.writeheader()
                writer.writerows(self._previous_rows)
            self._file = open(self.log, "a", newline="", encoding="utf-8")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise DataError(f"{self.log}: {error.strerror or error}") from error

    def _open_tensorboard(self, start: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DarknetError("TensorBoard needs a package: pip install 'darknet-torch[log]'") from error
        return SummaryWriter(str(self.folder / "tensorboard" / self.name), purge_step=start + 1 if start else None)


def merge_mini_batches(metrics: Sequence[LayerMetrics]) -> dict[int, dict[str, float]]:
    """The numbers of an iteration's mini-batches as one: their mean, but the sum of each "count"."""
    merged: dict[int, dict[str, float]] = {}
    for layer, names in (metrics[0] if metrics else {}).items():
        columns = {name: [mini_batch[layer][name] for mini_batch in metrics] for name in names}
        merged[layer] = {
            name: sum(values) if name == "count" else sum(values) / len(values) for name, values in columns.items()
        }
    return merged


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.{0 if name == 'count' else 4}f}" for name, value in metrics.items())
