"""Compute and plot curves of trainings by this package and by C: mAP of cfgs/digits.cfg, losses of fine-tuning.

    python tools/training_curves.py measure digits/digits.data docs/digits.csv TOOL-SEED=FOLDER ...
    python tools/training_curves.py draw docs/digits.csv docs/digits.png
    python tools/training_curves.py losses docs/finetuning.csv NETWORK/TOOL=LOG ...
    python tools/training_curves.py draw-losses docs/finetuning.csv docs/finetuning.png

A FOLDER has digits_200.weights, digits_400.weights, ..., written by any tool. All are evaluated by this package, with
Darknet's protocol. ``draw`` prints the mean and standard deviation of each tool's last mAP, and the difference of the
means with its 95 % confidence interval. A LOG is NAME_log.csv of this package, or what `darknet detector train` of C
prints; ``losses`` writes means over ten iterations.
"""

from __future__ import annotations

import csv
import pathlib
import re
import sys
from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

import darknet_py as dk
from darknet_py.figures import import_figure_class

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLOURS = ("tab:orange", "tab:blue", "tab:green")
ITERATIONS_PER_ROW = 10  # of the losses

Array = npt.NDArray[np.float64]


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
    """Plot mAP: each run (thin) and the mean of each tool (thick); beside it the last values and their mean.

    Runs of which only the last value is in the table are left out of the curves.
    """
    table: dict[str, dict[str, dict[int, float]]] = {}  # mAP by tool, seed and iteration
    with open(source, newline="") as file:
        for row in csv.DictReader(file):
            run = table.setdefault(row["tool"], {}).setdefault(row["seed"], {})
            run[int(row["iteration"])] = 100 * float(row["map"])
    figure = import_figure_class()(figsize=(8.4, 4.2), layout="constrained")
    axes, ends = figure.subplots(1, 2, width_ratios=(3, 1))
    samples = []
    for number, (tool, runs) in enumerate(table.items()):
        longest = max(len(run) for run in runs.values())
        curves = [run for run in runs.values() if len(run) == longest]
        iterations = sorted(curves[0])
        scores = np.array([[run[iteration] for run in curves] for iteration in iterations])
        last = np.array([run[iterations[-1]] for run in runs.values()])
        samples.append(last)
        colour = COLOURS[number]
        axes.plot(iterations, scores, color=colour, linewidth=0.5, alpha=0.4)
        label = f"{tool}, {len(curves)} of {len(runs)} seeds"
        axes.plot(iterations, scores.mean(axis=1), color=colour, linewidth=2.2, label=label)
        ends.plot(np.linspace(number - 0.25, number + 0.15, len(last)), last, ".", color=colour, alpha=0.7)
        ends.errorbar(number + 0.3, last.mean(), half_width(last), color=colour, marker="_", capsize=4, linewidth=2)
        print(f"{tool}: {last.mean():.2f} % mean, {last.std(ddof=1):.2f} standard deviation of", *np.round(last, 2))
    difference, half = welch(samples[0], samples[1])
    print(f"difference: {difference:+.2f}, 95 % interval {difference - half:+.2f} to {difference + half:+.2f}")
    axes.set(xlabel="iteration", ylabel="mAP@0.50, %", ylim=(0, 100), title="cfgs/digits.cfg from random weights")
    axes.legend(loc="lower right")
    ends.set(title="at the end", xlim=(-0.5, len(table) - 0.4))
    ends.set_xticks(range(len(table)), list(table), fontsize=8)
    for part in (axes, ends):
        part.grid(alpha=0.3)
    figure.savefig(target, dpi=110)


def losses(target: str, *logs: str) -> None:
    """Write a CSV row for every ten iterations of each log."""
    with open(target, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("network", "tool", "iteration", "loss"))
        for log in logs:
            name, _, path = log.partition("=")
            network, _, tool = name.partition("/")
            values = np.array(read_losses(path))
            values = values[: len(values) // ITERATIONS_PER_ROW * ITERATIONS_PER_ROW].reshape(-1, ITERATIONS_PER_ROW)
            for index, mean in enumerate(values.mean(axis=1)):
                rows.writerow((network, tool, (index + 1) * ITERATIONS_PER_ROW, f"{mean:.4f}"))


def read_losses(path: str) -> list[float]:
    """The loss of each iteration, in a log of this package (CSV) or in the output of C."""
    text = pathlib.Path(path).read_text()
    if path.endswith(".csv"):
        return [float(row["loss"]) for row in csv.DictReader(text.splitlines())]
    return [float(loss) for loss in re.findall(r"^ *\d+: (\S+), \S+ avg loss", text, re.MULTILINE)]


def draw_losses(source: str, target: str) -> None:
    """Plot the losses of each network, one line for each tool."""
    networks: dict[str, dict[str, dict[int, float]]] = {}  # loss by network, tool and iteration
    with open(source, newline="") as file:
        for row in csv.DictReader(file):
            points = networks.setdefault(row["network"], {}).setdefault(row["tool"], {})
            points[int(row["iteration"])] = float(row["loss"])
    figure = import_figure_class()(figsize=(8.4, 3.6), layout="constrained")
    for axes, (network, curves) in zip(figure.subplots(1, len(networks)), networks.items(), strict=True):
        for colour, (tool, points) in zip(COLOURS, curves.items(), strict=False):
            axes.plot(list(points), list(points.values()), ".-", color=colour, label=tool)
        axes.set(xlabel="iteration", ylabel="loss, mean of 10", yscale="log", title=network)
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(target, dpi=110)


def half_width(values: Array) -> float:
    """Half of the 95 % confidence interval of the mean."""
    return t_quantile(len(values) - 1) * float(values.std(ddof=1)) / sqrt(len(values))


def welch(a: Array, b: Array) -> tuple[float, float]:
    """The difference of the means, b - a, and half of its 95 % confidence interval (Welch's t-test)."""
    squares = [float(values.var(ddof=1)) / len(values) for values in (a, b)]
    freedom = sum(squares) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(squares, (a, b), strict=True))
    return float(b.mean() - a.mean()), t_quantile(freedom) * sqrt(sum(squares))


def t_quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, to 1e-3 from 10 degrees of freedom on (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


COMMANDS: dict[str, Callable[..., None]] = {
    "measure": measure,
    "draw": draw,
    "losses": losses,
    "draw-losses": draw_losses,
}

if __name__ == "__main__":
    command, *words = sys.argv[1:]
    COMMANDS[command](*words)
