"""``CsvLogger``: NAME_log.csv, a row for each iteration."""

from __future__ import annotations

import contextlib
import csv
import pathlib
from collections.abc import Sequence
from typing import Any

from ...errors import DataError
from ...files import atomic_write
from ..callbacks import Callback, EndEvent, EvaluationEvent, StartEvent, StepEvent
from ..metrics import IterationMetrics

_COLUMNS = ("iteration", "loss", "avg_loss", "lr", "seconds", "images", "images_per_second", "map")


class CsvLogger(Callback):
    """Writes ``FOLDER/NAME_log.csv``, which a resumed run continues.

    Columns: iteration, loss, avg_loss, lr, seconds, images, images_per_second, map (the score of an evaluation, in
    0..1), and LAYER.NAME for each number of a layer with a loss. A row is written after the iteration, or, if it is
    evaluated, after the evaluation.
    """

    def __init__(self) -> None:
        self._path = pathlib.Path()
        self._previous: list[dict[str, str]] = []
        self._columns: list[str] = []
        self._file: Any = None
        self._row: dict[str, str] = {}  # of the last iteration

    def on_start(self, event: StartEvent) -> None:
        """Read the rows of an earlier part of the run."""
        self._path = log_path(event)
        self._previous = previous_rows(event)

    def on_step(self, event: StepEvent) -> None:
        """Write the row, unless an evaluation follows."""
        self._row = format_row(event.metrics)
        if not event.evaluation_follows:
            self._write()

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Write the row with its score."""
        self._row["map"] = f"{event.score:.6f}"
        self._write()

    def on_end(self, event: EndEvent) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk, which has ended the run already
                self._file.close()

    def _write(self) -> None:
        if self._file is None:
            self._open(list(self._row))
        try:
            csv.DictWriter(self._file, self._columns, "", "ignore").writerow(self._row)
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self._path}: {error.strerror or error}") from error

    def _open(self, columns: Sequence[str]) -> None:
        """Rewrite the file with the rows that are kept, and open it to append."""
        self._columns = list(dict.fromkeys((*columns, *(self._previous[0] if self._previous else ()))))
        try:
            with atomic_write(self._path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns, "", "ignore")
                writer.writeheader()
                writer.writerows(self._previous)
            self._file = open(self._path, "a", newline="", encoding="utf-8")  # noqa: SIM115 (closed by on_end)
        except OSError as error:
            raise DataError(f"{self._path}: {error.strerror or error}") from error


def log_path(event: StartEvent) -> pathlib.Path:
    """The log of a run."""
    return event.folder / f"{event.name}_log.csv"


def previous_rows(event: StartEvent) -> list[dict[str, str]]:
    """Complete rows of the log of the run that is resumed, up to its state; a crash can truncate the last."""
    rows: list[dict[str, str]] = []
    path = log_path(event)
    if event.resumed and path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                is_complete = (row["iteration"] or "").isdigit() and None not in row.values()
                if is_complete and int(row["iteration"]) <= event.iteration:
                    rows.append(row)
    return rows


def format_row(metrics: IterationMetrics) -> dict[str, str]:
    """The row of an iteration, by column; a column "LAYER.NAME" for each number of a layer."""
    values = (
        str(metrics.iteration),
        f"{metrics.loss:.9g}",
        f"{metrics.average_loss:.9g}",
        f"{metrics.lr:.9g}",
        f"{metrics.seconds:.4f}",
        str(metrics.images),
        f"{metrics.images_per_second:.2f}",
        "",
    )
    layers = {f"{layer}.{name}": f"{v:.6g}" for layer, numbers in metrics.layers.items() for name, v in numbers.items()}
    return dict(zip(_COLUMNS, values, strict=True)) | layers
