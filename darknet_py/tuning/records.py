"""``TrialRecord``, ``SearchResult``: the trials of a search as plain values, as a table, a CSV file and plots."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._table import format_table
from .._typing import StrPath
from ..figures import BOLD, GREY, INK, create_figure, plain_text, style_axes, write_png
from ..files import atomic_write
from .space import Value, value_text

_ORANGE, _RED = "#d9822b", "#d1242f"
_STATES = {"complete": BOLD, "pruned": _ORANGE, "failed": _RED}  # with their colours; "running" is not drawn


@dataclass(frozen=True)
class TrialRecord:
    """A trial.

    Attributes:
        number: Its number; those of trials that were interrupted are missing.
        state: "complete", "pruned", "failed", or "running" in another process.
        score: Best score in 0..1, of a pruned one the last; None if there is none.
        values: Values of the parameters by name.
        seconds: How long it took, 0 while it runs.
        error: Why it has no real score.
    """

    number: int
    state: str
    score: float | None
    values: Mapping[str, Value]
    seconds: float = 0.0
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return {**vars(self), "values": dict(self.values)}

    def describe(self) -> str:
        """The values as text: ``net.momentum=0.9 yolo.jitter=0.2``."""
        return " ".join(f"{name}={value_text(value)}" for name, value in self.values.items())


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        trials: The trials by number; the first has the cfg's own values.
        best: The complete trial with the best score; None if there is none.
        importances: Share of each parameter in the differences between the scores, largest first; empty if unknown.
        score_name: What the score is: "mAP", "top-1", ...
        folder: Folder of the search; best.cfg and best.weights are those of the best trial that was trained there.
    """

    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    importances: Mapping[str, float]
    score_name: str
    folder: pathlib.Path

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "score_name": self.score_name,
            "best": None if self.best is None else self.best.number,
            "importances": dict(self.importances),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def format(self) -> list[str]:
        """Two tables: the trials with their scores; the parameters with their first and best values."""
        rows = [("trial", "state", self.score_name, "seconds", "")]
        for trial in self.trials:
            score = "" if trial.score is None else f"{trial.score:.2%}"
            note = "best" if trial == self.best else trial.error[:40]
            rows.append((str(trial.number), trial.state, score, f"{trial.seconds:.0f}", note))
        lines = format_table(rows, "><>><")
        if self.best is None:
            return lines
        found = [("parameter", "cfg", "best", "importance")]
        names = sorted(self.best.values, key=lambda name: -self.importances.get(name, 0.0))
        for name in names:
            share = f"{self.importances[name]:.0%}" if name in self.importances else ""
            first, best = (value_text(trial.values[name]) for trial in (self.trials[0], self.best))
            found.append((name, first, best, share))
        return [*lines, "", *format_table(found, "<>>>")]


def write_csv(trials: Iterable[TrialRecord], path: StrPath) -> None:
    """Write a row for each trial. Raises DataError if the file cannot be written."""
    rows = [
        {"trial": one.number, "state": one.state, "score": "" if one.score is None else f"{one.score:.6f}"}
        | {"seconds": f"{one.seconds:.1f}"}
        | {name: value_text(value) for name, value in one.values.items()}
        | {"error": one.error}
        for one in trials
    ]
    with atomic_write(path, "w", newline="", encoding="utf-8") as file:
        columns = dict.fromkeys(column for row in rows for column in row)
        writer = csv.DictWriter(file, [*(column for column in columns if column != "error"), "error"], "")
        writer.writeheader()
        writer.writerows(rows)


def plot_history(result: SearchResult, path: StrPath) -> None:
    """Plot the score of each trial, and the best so far, as a PNG.

    Raises:
        ImportError: matplotlib is not installed.
        DataError: The file cannot be written.
    """
    figure, axes = create_figure("Trials", plain_text(str(result.folder)))
    for state, colour in _STATES.items():
        points = [
            (one.number, 100 * one.score) for one in result.trials if one.state == state and one.score is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=26, color=colour, label=f"{state} ({len(points)})", zorder=3)
    complete = [one for one in result.trials if one.state == "complete" and one.score is not None]
    best = [100 * max(one.score or 0.0 for one in complete[: count + 1]) for count in range(len(complete))]
    if best:
        numbers = [*(one.number for one in complete), result.trials[-1].number]
        axes.step(numbers, [*best, best[-1]], where="post", color=INK, linewidth=1, label="best so far")
        axes.axhline(100 * (complete[0].score or 0.0), color=GREY, linewidth=1, linestyle=":", label="first trial")
    style_axes(axes, "trial", f"{result.score_name}, %")
    axes.locator_params(axis="x", integer=True)
    axes.legend(edgecolor="none", fontsize=9)
    write_png(figure, path)


def plot_importances(result: SearchResult, path: StrPath) -> None:
    """Plot the importance of each parameter as a PNG; raises as ``plot_history`` does."""
    names: Sequence[str] = list(result.importances)[::-1]
    shares = [100 * result.importances[name] for name in names]
    figure, axes = create_figure("Importance of the parameters", "share in the differences between scores (PED-ANOVA)")
    bars = axes.barh([plain_text(name) for name in names], shares, color=BOLD)
    axes.bar_label(bars, [f"{share:.0f}" for share in shares], padding=3, color=GREY, fontsize=9)
    style_axes(axes, "importance, %", "")
    write_png(figure, path)
