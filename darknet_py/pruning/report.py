"""What pruning has changed: tables of channels and costs before and after, and the distribution of the scores."""

from __future__ import annotations

import statistics
import struct
from typing import Any

import torch

from .._table import format_table
from .._typing import StrPath
from ..data.dataset import Dataset
from ..evaluation.evaluator import evaluate
from ..figures import BOLD, INK, create_figure, plain_text, style_axes, write_png
from ..inference.engines import create_engine
from ..inference.timing import time_interleaved
from ..layers import Score
from ..network import Network
from ..weights.darknet_file import Header, stored
from .pruner import Pruned

_BINS = 80
_RED = "#d1242f"
_AXES = {Score.BN: "absolute value of the scale", Score.L1: "L1 norm of the filter / square root of its weights"}


def measure(
    pruned: Pruned,
    data: Dataset | StrPath | None = None,
    *,
    repeats: int = 10,
    subset: str = "valid",
    progress: bool = True,
) -> dict[str, Any]:
    """Compare the cost of a network before and after pruning, and its mAP.

    Args:
        pruned: the network.
        data: a data set to compute mAP on, as ``evaluate`` takes it; None: none.
        repeats: runs of which the median time is taken; before and after are interleaved.
        subset: the part of ``data`` to use.
        progress: show progress bars.

    Returns:
        Plain values. ``before`` and ``after`` have ``parameters`` (values in the .weights file), ``bflops`` and ``ms``
        of one image, ``bytes`` of the .weights file, and with data ``map`` in 0..1; ``layers`` has the number, name and
        channels of each layer with weights; ``units`` the first and last number of removed residual units;
        ``threshold`` the highest score that was to be removed.
    """
    networks = {"before": pruned.original, "after": pruned.network}
    x = torch.rand(1, *pruned.original.shape, device=next(pruned.original.parameters()).device)
    times = time_interleaved({name: create_engine(net, "torch") for name, net in networks.items()}, x, repeats=repeats)
    report: dict[str, Any] = {"threshold": pruned.selection.threshold, "units": [unit[:2] for unit in pruned.units]}
    for name, network in networks.items():
        report[name] = _costs(network) | {"ms": statistics.median(times[name])}
        if data is not None:
            report[name]["map"] = evaluate(network, data, subset=subset, progress=progress).map
    report["layers"] = [
        {
            "layer": number,
            "section": pruned.original.config.sections[1 + number].name,
            "before": pruned.original[number].shape.channels,
            "after": layer.shape.channels,
        }
        for number, layer in zip(pruned.origins, pruned.network, strict=True)
        if next(layer.stored(), None)
    ]
    return report


def format_report(report: dict[str, Any]) -> list[str]:
    """Format what ``measure`` returns as two tables."""
    channels = [("layer", "section", "channels", "kept", "")]
    for row in report["layers"]:
        share = "" if row["after"] == row["before"] else f"{row['after'] / row['before']:.0%}"
        channels.append((str(row["layer"]), row["section"], str(row["before"]), str(row["after"]), share))
    before, after = report["before"], report["after"]
    costs = [("", "before", "after", "after / before")]
    for key, label, form in (
        ("parameters", "parameters", ",d"),
        ("bflops", "BFLOPS", ".3f"),
        ("bytes", "bytes", ",d"),
        ("ms", "ms", ".2f"),
        ("map", "mAP", ".2%"),
    ):
        if key in before:
            share = f"{after[key] / before[key]:.1%}" if before[key] and key != "map" else ""
            costs.append((label, format(before[key], form), format(after[key], form), share))
    units = [f"removed residual unit: layers {first} to {last}" for first, last in report["units"]]
    return [*format_table(channels, "><>"), *units, "", *format_table(costs, "<>")]


def plot_scores(pruned: Pruned, path: StrPath) -> None:
    """Plot the distribution of the scores of all channels that can be removed, with the threshold, as a PNG.

    Raises:
        ImportError: matplotlib is not installed.
        DataError: the file cannot be written.
    """
    selection = pruned.selection
    parts = [selection.scores[goes].tolist() for goes in (selection.goes, ~selection.goes)]
    figure, axes = create_figure("Channels by score", plain_text(pruned.original.config.path))
    top = max((max(part) for part in parts if part), default=1.0)
    edges = [top * number / _BINS for number in range(_BINS + 1)]
    labels = [f"removed ({len(parts[0])})", f"kept ({len(parts[1])})"]
    axes.hist(parts, edges, stacked=True, color=[_RED, BOLD], label=labels)
    axes.axvline(selection.threshold, color=INK, linewidth=1, label=f"threshold {selection.threshold:.4g}")
    axes.set_xlim(0, top)
    style_axes(axes, _AXES[pruned.score], "channels")
    axes.legend(edgecolor="none", fontsize=9)
    write_png(figure, path)


def _costs(network: Network) -> dict[str, Any]:
    """Size and operations of a network."""
    floats = sum(array.tensor.numel() for array in stored(network))
    header = struct.calcsize(Header(*network.version, network.seen).layout(network.dialect))
    return {"parameters": floats, "bflops": network.flops / 1e9, "bytes": header + 4 * floats}
