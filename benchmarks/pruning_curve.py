#!/usr/bin/env python3
"""Prune a trained detector by several ratios, fine-tune each network for a short time, and draw mAP over operations.

    python -m benchmarks.pruning_curve coco128.data yolov4-tiny.cfg yolov4-tiny.weights --set batch=8 --set burn_in=0

Nothing is trained before the pruning. The row of ratio 0 is the whole network, fine-tuned like the others. The times
are medians of interleaved runs on one thread, as CPU time. A row is printed as soon as it is there.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys

import torch

from benchmarks.slimming import train
from darknet_py import DarknetError, Network, cfg, evaluate, load_weights
from darknet_py.figures import BOLD, GREY, create_figure, style_axes, write_png
from darknet_py.inference.engines import create_engine
from darknet_py.inference.timing import time_interleaved
from darknet_py.pruning.pruner import prune

RATIOS = 0.1, 0.3, 0.5, 0.7
COLUMNS = "ratio", "BFLOPS", "parameters", "ms", "mAP, pruned", "mAP, fine-tuned"


def main() -> int:
    """Run all ratios, print a Markdown table, and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help=".data file: the networks are trained on its train=, and evaluated on its valid=")
    parser.add_argument("cfg", type=pathlib.Path)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("--ratios", type=float, nargs="+", default=list(RATIOS))
    parser.add_argument("--score", choices=["bn", "l1"], default="bn")
    parser.add_argument("--fine-tune", type=int, default=150, metavar="N", help="iterations (default: 150)")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of [net]")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("pruning_curve"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    print("|", " | ".join(COLUMNS), "|\n" + "|---:" * len(COLUMNS) + "|", flush=True)
    curve = [run(args, ratio) for ratio in (0.0, *args.ratios)]
    draw(args, curve)
    return 0


def run(args: argparse.Namespace, ratio: float) -> tuple[float, float, float]:
    """Print the row of a ratio; return BFLOPS, and mAP after the pruning and after the fine-tuning."""
    original = load_weights(Network(cfg.load(args.cfg)), args.weights)
    network, path, weights = original, args.cfg, args.weights
    folder = args.output / f"{100 * ratio:g}"
    if ratio:
        pruned = prune(original, ratio, score=args.score)
        network = pruned.network
        path, weights = pruned.save(folder)
    print(f"ratio {ratio:g}: {args.fine_tune} iterations", file=sys.stderr, flush=True)
    tuned = train(args, path, weights, folder / "tuned", args.seed, 0.0)
    before, after = (evaluate(net, args.data, engine="torch", progress=False).map for net in (network, tuned))
    engines = {"original": create_engine(original, "torch"), "pruned": create_engine(tuned, "torch")}
    times = time_interleaved(engines, torch.rand(1, *original.shape), repeats=20, cpu_time=True)
    flops = tuned.flops / 1e9
    cells = [
        f"{ratio:g}",
        f"{flops:.3f}",
        f"{sum(p.numel() for p in tuned.parameters()):,}",
        f"{statistics.median(times['pruned']):.1f} of {statistics.median(times['original']):.1f}",
        f"{100 * before:.2f}",
        f"{100 * after:.2f}",
    ]
    print("|", " | ".join(cells), "|", flush=True)
    return flops, before, after


def draw(args: argparse.Namespace, curve: list[tuple[float, float, float]]) -> None:
    """Draw mAP over operations, before and after the fine-tuning, into OUTPUT/curve.png."""
    title = f"{args.cfg.stem}, pruned by {', '.join(f'{100 * ratio:g}' for ratio in args.ratios)} %"
    figure, axes = create_figure(title, f"mAP@0.50 before and after {args.fine_tune} iterations of fine-tuning")
    flops, before, after = zip(*curve, strict=True)
    axes.plot(flops, [100 * score for score in before], "o--", color=GREY, label="pruned")
    axes.plot(flops, [100 * score for score in after], "o-", color=BOLD, label="fine-tuned")
    axes.legend(frameon=False)
    style_axes(axes, "BFLOPS", "mAP@0.50 (%)")
    write_png(figure, args.output / "curve.png")


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except DarknetError as error:
        raise SystemExit(str(error)) from error
