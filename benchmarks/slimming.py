#!/usr/bin/env python3
"""Train a detector with a sparsity penalty, prune it to a share of its operations, fine-tune it, and compare its mAP.

    darknet-py digits digits
    python benchmarks/slimming.py digits/digits.data cfgs/digits.cfg cfgs/digits.weights --seeds 0 1 2 -o slimming

Each seed starts from the weights. The training with the penalty has a constant learning rate; that of the fine-tuning
drops to a tenth after 0.7 and 0.85 of its iterations. The network is pruned by the smallest ratio, in steps of 0.01,
that leaves at most the given share of the operations. The times are medians of interleaved runs on one thread, as CPU
time, so that the machine may be busy.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
from collections.abc import Iterator

import torch

from darknet_py import Network, Trainer, TrainOptions, cfg, evaluate, load_weights
from darknet_py.inference.engines import create_engine
from darknet_py.inference.timing import time_interleaved
from darknet_py.pruning.pruner import Pruned, prune
from darknet_py.training.resume import build_network

COLUMNS = ("seed", "ratio", "GFLOP", "parameters", "ms", "mAP", "sparse", "pruned", "fine-tuned")


def main() -> int:
    """Run all seeds and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("cfg", type=pathlib.Path)
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--share", type=float, default=0.5, help="operations that are left at most")
    parser.add_argument("--sparsity", type=float, default=0.02)
    parser.add_argument("--iterations", type=int, default=1000, help="of the training with the penalty")
    parser.add_argument("--fine-tune", type=int, default=2200, metavar="N", help="iterations of the fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=0.004)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of [net]")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("slimming"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("|", " | ".join(COLUMNS), "|\n" + "|---" * len(COLUMNS) + "|", flush=True)
    gains = []
    for seed in args.seeds:
        before, after, cells = run(args, seed)
        gains.append(100 * (after - before))
        print("|", " | ".join(cells), "|", flush=True)
    spread = f" +- {statistics.stdev(gains):.2f}" if len(gains) > 1 else ""
    print(f"\nmAP after - before: {statistics.mean(gains):+.2f}{spread} points, {len(gains)} seeds")
    return 0


def run(args: argparse.Namespace, seed: int) -> tuple[float, float, list[str]]:
    """Return mAP before and after, and the cells of a row."""
    folder = args.output / f"seed{seed}"
    original = load_weights(Network(cfg.load(args.cfg)), args.weights)
    sparse = train(args, args.cfg, args.weights, folder / "sparse", seed, args.sparsity)
    pruned = prune_to_share(sparse, args.share)
    pruned_cfg, pruned_weights = pruned.save(folder)
    tuned = train(args, pruned_cfg, pruned_weights, folder / "tuned", seed, 0.0)
    scores = [evaluate(net, args.data, progress=False).map for net in (original, sparse, pruned.network, tuned)]
    ratio = float(pruned.selection.removed.sum()) / len(pruned.selection.scores)
    times = time_interleaved(
        {"before": create_engine(original, "torch"), "after": create_engine(tuned, "torch")},
        torch.rand(1, *original.shape),
        repeats=30,
        cpu_time=True,
    )
    pairs = [
        [f"{net.flops / 1e9:.4f}" for net in (original, tuned)],
        [f"{sum(p.numel() for p in net.parameters())}" for net in (original, tuned)],
        [f"{statistics.median(times[name]):.2f}" for name in ("before", "after")],
    ]
    cells = [" -> ".join(pair) for pair in pairs]
    return scores[0], scores[3], [str(seed), f"{ratio:.2f}", *cells, *(f"{100 * score:.2f}" for score in scores)]


def train(
    args: argparse.Namespace,
    path: pathlib.Path,
    weights: str | pathlib.Path,
    folder: pathlib.Path,
    seed: int,
    sparsity: float,
) -> Network:
    """Train from weights: with a penalty, or to fine-tune."""
    iterations = args.iterations if sparsity else args.fine_tune
    values = {"max_batches": str(iterations), "learning_rate": str(args.learning_rate), "policy": "constant"}
    if not sparsity:
        values |= {"policy": "steps", "steps": f"{iterations * 7 // 10},{iterations * 17 // 20}", "scales": "0.1,0.1"}
    values |= dict(item.partition("=")[::2] for item in args.set)
    network = build_network(path, values=values, seed=seed)
    options = TrainOptions(
        seed=seed, sparsity=sparsity, weights=weights, output=folder, validate=False, chart="", verbose=False, workers=0
    )
    Trainer(network, args.data, options, clear=True).run()
    return network.eval()


def prune_to_share(network: Network, share: float) -> Pruned:
    """Prune by the smallest ratio that leaves at most ``share`` of the operations."""

    def candidates() -> Iterator[Pruned]:
        for percent in range(1, 100):
            yield prune(network, percent / 100, min_channels=4)

    return next(pruned for pruned in candidates() if pruned.network.flops <= share * network.flops)


if __name__ == "__main__":
    raise SystemExit(main())
