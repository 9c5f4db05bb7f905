"""``MetricLogger``: what a training tells while it runs: lines on stderr, a CSV, a chart, TensorBoard.

The lines are Darknet's: iteration, loss, average loss, rate, seconds, images, hours left, with images per
second behind; above them for each layer with a loss what it counts. Iterations that follow faster than two a
second are not all printed; NAME_log.csv has every one, and is what a chart is continued from.
"""

from __future__ import annotations

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

_APART = 0.5  # seconds between printed iterations
_CHART_APART = 5.0  # seconds between charts
_CHARTED = 100  # iterations after which the chart is drawn
_COLUMNS = ("iteration", "loss", "avg_loss", "rate", "seconds", "images", "images_per_second", "map")

Figures = Mapping[int, Mapping[str, float]]  # by layer, then by name


@dataclass(frozen=True)
class Entry:
    """One iteration.

    ``seconds``: that it took with its loading. ``images``: images trained on so far. ``parts``: figures of
    the layers with a loss. ``left``: hours. ``speed``: images per second. ``score``: mAP in 0..1, where it
    was counted.
    """

    iteration: int
    loss: float
    average: float
    rate: float
    seconds: float
    images: int
    speed: float
    left: float
    parts: Figures = field(default_factory=dict)
    score: float | None = None

    def lines(self) -> str:
        """For people."""
        rows = [f"  layer {layer}: {_told(figures)}" for layer, figures in self.parts.items()]
        text = f"{self.iteration}: {self.loss:.6f}, {self.average:.6f} avg loss, {self.rate:.6f} rate, "
        text += f"{self.seconds:.6f} seconds, {self.images} images, {self.left:.2f} hours left, "
        text += f"{self.speed:.1f} images/s"
        return "\n".join((*rows, text))

    def row(self) -> dict[str, str]:
        """For the CSV."""
        score = "" if self.score is None else f"{self.score:.6f}"
        numbers = (self.loss, self.average, self.rate)
        texts = (*(f"{number:.9g}" for number in numbers), f"{self.seconds:.4f}", str(self.images), f"{self.speed:.2f}")
        values = dict(zip(_COLUMNS, (str(self.iteration), *texts, score), strict=True))
        return values | {f"{layer}.{name}": f"{v:.6g}" for layer, f in self.parts.items() for name, v in f.items()}


class MetricLogger:
    """Tells of a training called ``name``, in ``folder``.

    ``start``: iterations made before; the CSV's rows up to there stay. ``last``: iteration at which it ends,
    0: never. ``top``: loss at the upper edge of the chart, ``chart``: its file (chart_NAME.png), empty for none.
    ``tensorboard``: whether to write for it too. ``loud``: whether to print. ``measured``: what scores are.
    Raises DarknetError where what is asked for is not installed.
    """

    def __init__(
        self,
        folder: StrPath,
        name: str,
        *,
        start: int = 0,
        last: int = 0,
        top: float = 20.0,
        chart: StrPath | None = None,
        tensorboard: bool = False,
        loud: bool = True,
        measured: str = "mAP",
    ) -> None:
        self.folder, self.name, self.last, self.top, self.loud = pathlib.Path(folder), name, last, top, loud
        self.measured = measured
        self.log = self.folder / f"{name}_log.csv"
        self.chart = self.folder / f"chart_{name}.png" if chart is None else chart
        self._writer = self._tensorboard(start) if tensorboard else None
        self.losses: list[tuple[int, float]] = []
        self.scores: list[tuple[int, float]] = []
        self._columns: list[str] = []
        self._file: Any = None
        self._old = self._kept(start)
        self._said, self._drawn = 0.0, 0.0

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        if self.loud:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def tell(self, entry: Entry) -> None:
        """Print an iteration, if the last one printed is not too near."""
        now = time.monotonic()
        if now - self._said >= _APART or entry.iteration == self.last:
            self._said = now
            self.say(entry.lines())

    def write(self, entry: Entry) -> None:
        """Keep an iteration in the CSV, for the chart and for TensorBoard."""
        row = entry.row()
        if self._file is None:
            self._begin(list(row))
        csv.DictWriter(self._file, self._columns, "", "ignore").writerow(row)
        self._file.flush()
        self.losses.append((entry.iteration, entry.average))
        if entry.score is not None:
            self.scores.append((entry.iteration, entry.score))
        if self._writer is not None:
            for key, text in row.items():
                if key not in ("iteration", "images") and text:
                    group = "" if key in _COLUMNS else "layer "
                    self._writer.add_scalar(group + key.replace(".", "/"), float(text), entry.iteration)
        if self.chart and (entry.iteration % _CHARTED == 0 or entry.score is not None):
            self.draw(entry)

    def draw(self, entry: Entry, *, at_once: bool = False) -> None:
        """Draw the chart, if the last one is not too near. Without matplotlib there is none."""
        from . import loss_plot

        if not self.chart or not (at_once or time.monotonic() - self._drawn >= _CHART_APART):
            return
        text = f"avg loss {entry.average:.4f}   iteration {entry.iteration}"
        text += f" of {self.last}, {entry.left:.2f} hours left" if self.last else ""
        last = self.last or entry.iteration
        try:
            words = {"title": self.name, "text": text, "measured": self.measured}
            loss_plot.draw(self.chart, self.losses, self.scores, last=last, top=self.top, **words)
        except ImportError as error:
            self.say(f"no chart: {error}")
            self.chart = ""
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _kept(self, start: int) -> list[dict[str, str]]:
        """Rows that an earlier part of this training has left; the last of them may be broken."""
        rows: list[dict[str, str]] = []
        if start and self.log.is_file():
            with open(self.log, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    whole = (row["iteration"] or "").isdigit() and None not in row.values()
                    if whole and int(row["iteration"]) <= start:
                        rows.append(row)
        for row in rows:
            self.losses.append((int(row["iteration"]), float(row["avg_loss"])))
            if row.get("map"):
                self.scores.append((int(row["iteration"]), float(row["map"])))
        return rows

    def _begin(self, columns: Sequence[str]) -> None:
        """Open the CSV behind the rows that are kept."""
        self._columns = list(dict.fromkeys((*columns, *(self._old[0] if self._old else ()))))
        try:
            with atomic_write(self.log, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns, "", "ignore")
                writer.writeheader()
                writer.writerows(self._old)
            self._file = open(self.log, "a", newline="", encoding="utf-8")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise DataError(f"{self.log}: {error.strerror or error}") from error

    def _tensorboard(self, start: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DarknetError("TensorBoard needs a package: pip install 'darknet-torch[log]'") from error
        return SummaryWriter(str(self.folder / "tensorboard" / self.name), purge_step=start + 1 if start else None)


def _told(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.{0 if name == 'count' else 4}f}" for name, value in figures.items())
