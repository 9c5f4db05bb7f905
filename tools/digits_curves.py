"""Compute and plot mAP during training of cfgs/digits.cfg, from the weights that were saved during training.

    python tools/digits_curves.py measure digits/digits.data docs/digits.csv darknet_py-1=runs/a C-1=runs/b ...
    python tools/digits_curves.py draw docs/digits.csv docs/digits.png

A run is a folder of digits_100.weights, digits_200.weights, ..., written by any tool; its name is TOOL-SEED. All are
evaluated by this package, with Darknet's protocol. ``draw`` prints the mean and standard deviation of each tool's
last mAP.
"""

from __future__ import annotations

import csv
import pathlib
import sys

import numpy as np

import darknet_py as dk
from darknet_py.figures import import_figure_class

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLOURS = {"darknet_py": "tab:blue", "darknet_py, C's edges": "tab:green", "C Darknet": "tab:orange"}

Curves = dict[str, dict[int, list[float]]]  # mAP of each seed, by tool and iteration


def measure(data: str, target: str, *runs: str) -> None:
    """Evaluate the weights of each run and write a CSV row for each file."""
    with open(target, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("tool", "seed", "iteration", "map"))
        for run in runs:
            name, _, folder = run.partition("=")
            tool, _, seed = name.rpartition("-")
            paths = {int(path.stem.rpartition("_")[2]): path for path in pathlib.Path(folder).glob("digits_*0.weights")}
            for iteration, path in sorted(paths.items()):
                score = dk.evaluate(dk.load(ROOT / "cfgs" / "digits.cfg", path), data).map50
                rows.writerow((tool, seed, iteration, f"{score:.4f}"))
                print(name, iteration, f"{score:.2%}", file=sys.stderr)


def draw(source: str, target: str) -> None:
    """Plot each run (thin) and the mean of each tool (thick), and print the values of the last iteration."""
    curves: Curves = {}
    with open(source, newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["tool"], {}).setdefault(int(row["iteration"]), []).append(float(row["map"]))
    figure = import_figure_class()(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for tool, points in curves.items():
        iterations, scores = list(points), 100 * np.array(list(points.values()))
        axes.plot(iterations, scores, color=COLOURS[tool], linewidth=0.7, alpha=0.6)
        seeds = scores.shape[1]
        axes.plot(iterations, scores.mean(axis=1), color=COLOURS[tool], linewidth=2.2, label=f"{tool}, {seeds} seeds")
        last = scores[-1]
        print(f"{tool}: {last.mean():.2f} % mean, {last.std(ddof=1):.2f} standard deviation of", *np.round(last, 2))
    axes.set(xlabel="iteration", ylabel="mAP@0.50, %", ylim=(0, 100), title="cfgs/digits.cfg from random weights")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "measure":
        measure(*words)
    else:
        draw(*words)
