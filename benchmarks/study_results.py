"""The results of ``benchmarks.study``: a JSON file of scores, a Markdown table, a figure."""

from __future__ import annotations

import hashlib
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from darknet_py import Network, cfg, locks
from darknet_py.files import atomic_write
from darknet_py.inference.engines import create_engine
from darknet_py.inference.timing import time_interleaved

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOG_RANGE = 3  # ratio of the operations from which on their axis is logarithmic


@dataclass(frozen=True)
class Study:
    """Networks to compare.

    Attributes:
        name: name of the folder of cfgs and of the files of results.
        metric: name of the score.
        networks: names of the cfgs; the first is what the others are compared with.
    """

    name: str
    metric: str
    networks: tuple[str, ...]

    def path(self, network: str) -> pathlib.Path:
        """Return the path of a network's cfg."""
        return ROOT / "cfgs" / self.name / f"{network}.cfg"


class Results:
    """The runs of a study in a JSON file: ``{network: {"cfg": hash, "scores": {seed: score}, "ms": median}}``."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """Return the entries of all networks; none if there is no file."""
        if not self.path.exists():
            return {}
        entries: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return entries

    def update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Read, change and write the file, while no other process does."""
        while (held := locks.hold(self.path.parent)) is None:
            time.sleep(0.1)
        try:
            entries = self.read()
            change(entries)
            with atomic_write(self.path, "w", encoding="utf-8") as file:
                file.write(json.dumps(entries, indent=1, sort_keys=True) + "\n")
        finally:
            locks.release(held)

    def has(self, path: pathlib.Path, name: str, seed: int) -> bool:
        """Whether there is a score of this cfg as it is now."""
        entry = self.read().get(name, {})
        return entry.get("cfg") == digest(path) and str(seed) in entry.get("scores", {})

    def add(self, path: pathlib.Path, name: str, seed: int, score: float, seconds: float, **others: float) -> None:
        """Keep a score, and others by their names; those of another version of the cfg are dropped."""

        def change(entries: dict[str, Any]) -> None:
            if entries.get(name, {}).get("cfg") != digest(path):
                entries[name] = {"cfg": digest(path), "scores": {}, "seconds": {}}
            entries[name]["scores"][str(seed)] = round(score, 6)
            entries[name]["seconds"][str(seed)] = round(seconds, 1)
            for other, value in others.items():
                entries[name].setdefault(other, {})[str(seed)] = round(value, 6)

        self.update(change)


def digest(path: pathlib.Path) -> str:
    """Return a hash of what a cfg says, without its comments and blank lines."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line and line[0] != "#").encode()).hexdigest()[:16]


def add_times(study: Study, entries: dict[str, Any]) -> None:
    """Measure an image through each network of the study, fused, in turn, and keep the medians."""
    networks = {name: load(study, name).initialise().eval() for name in study.networks}
    sizes = sorted({network.shape for network in networks.values()})
    for size in sizes:
        engines = {name: create_engine(net, "torch") for name, net in networks.items() if net.shape == size}
        for name, times in time_interleaved(engines, torch.rand(1, *size), repeats=30).items():
            entries.setdefault(name, {})["ms"] = round(statistics.median(times), 2)


def load(study: Study, name: str) -> Network:
    """Return a network of the study without weights."""
    return Network(cfg.load(study.path(name)))


def table(study: Study, entries: dict[str, Any]) -> str:
    """Return the Markdown table of a study: mean, standard deviation and number of the seeds."""
    networks = {name: load(study, name) for name in study.networks}
    counts = {name: (sum(p.numel() for p in net.parameters()), net.flops) for name, net in networks.items()}
    first = counts[study.networks[0]]
    rows = [
        f"| network | parameters | BFLOPS | ms | {study.metric} | seeds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (parameters, flops) in counts.items():
        entry = entries.get(name, {})
        cells = [f"`{name}`", f"{parameters:,}{_change(parameters, first[0])}"]
        cells.append(f"{flops / 1e9:.4f}{_change(flops, first[1])}")
        scores = [100 * score for score in entry.get("scores", {}).values()]
        cells += [f"{entry['ms']:.2f}" if "ms" in entry else "", _mean(scores), str(len(scores))]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def replace_table(page: pathlib.Path, study: str, text: str) -> None:
    """Write a table into a page, between its comment and the next end of a table."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"<!-- table: {study} -->\n")
    end = "<!-- end of table -->"
    with atomic_write(page, "w", encoding="utf-8") as file:
        file.write(f"{before}{mark}\n{text}\n\n{end}{rest.partition(end)[2]}")


def _change(value: float, first: float) -> str:
    return "" if value == first else f" ({100 * (value / first - 1):+.1f} %)"


def _mean(scores: Sequence[float]) -> str:
    if not scores:
        return ""
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.2f}{spread}"


def draw(study: Study, entries: dict[str, Any], path: pathlib.Path) -> None:
    """Draw the scores over the operations: the mean, and a bar from the lowest to the highest."""
    from darknet_py.figures import BOLD, create_figure, style_axes, write_png

    scores = {name: list(entries[name]["scores"].values()) for name in study.networks if name in entries}
    if not any(scores.values()):
        return
    metric = study.metric
    figure, axes = create_figure(f"cfgs/{study.name}", f"{metric} in per cent over BFLOPS: mean and range of the seeds")
    for name, values in scores.items():
        if values:
            x, mean = load(study, name).flops / 1e9, statistics.mean(values)
            bars = [[100 * (mean - min(values))], [100 * (max(values) - mean)]]
            axes.errorbar([x], [100 * mean], yerr=bars, fmt="o", color=BOLD, capsize=3)
            axes.annotate(name, (x, 100 * mean), (5, 4), textcoords="offset points", fontsize=8)
    low, high = axes.get_xlim()
    if low * LOG_RANGE < high:
        axes.set_xscale("log")
    axes.margins(x=0.12)
    style_axes(axes, "BFLOPS", f"{metric} (%)")
    write_png(figure, path)
