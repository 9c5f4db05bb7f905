#!/usr/bin/env python3
"""How fast networks run on a GPU, and how near its own limit: the GPU table of docs/performance.md.

    python benchmarks/gpu.py [CFG ...] [--batches 1 32] [--repeats 20] [--compile]

For each network and batch size fp32, tf32 and fp16, each with kernels called one by one and as a CUDA graph, with
``--compile`` also by torch.compile: milliseconds (medians of runs in turn), images a second, the share of the largest
rate that a convolution or matrix product reached in the same precision, and how far the outputs are from those
of the layers on the CPU (rms of the difference over the rms). yolov7.cfg is AlexeyAB's: give its path.
"""

from __future__ import annotations

import argparse
import copy
import pathlib
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.network import Network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = ("yolov4-tiny.cfg", "yolov4.cfg")
PRECISIONS = {"fp32": ("fp32", False), "tf32": ("fp32", True), "fp16": ("fp16", False)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG", default=NETWORKS)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="torch.compile, too, which takes a minute a row")
    args = parser.parse_args()

    import torch

    import darknet_py

    if not torch.cuda.is_available():
        print("no CUDA device here: nothing to measure", file=sys.stderr)
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| network | precision | how | ms | images/s | share of the best rate | from the CPU |")
    print("|---|---|---|---|---|---|---|")
    warnings.simplefilter("ignore")
    for name in args.networks:
        path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
        network = darknet_py.load(path)
        for key, tensor in network.named_buffers():
            if key.endswith("rolling_variance"):  # Darknet starts with 0, of which values grow out of bounds
                tensor.fill_(1.0)
        on_gpu = copy.deepcopy(network).cuda()
        for batch in args.batches:
            x = torch.rand(batch, *network.shape)
            with torch.inference_mode():
                expected = network(x[:1])
            for precision in PRECISIONS:
                for row in rows(on_gpu, x.cuda(), expected, precision, args):
                    print(f"| {path.stem} {network.shape.width} b{batch} | {precision} | {row} |", flush=True)
    return 0


def rows(
    network: Network, x: Tensor, expected: list[Tensor], precision: str, args: argparse.Namespace
) -> Iterator[str]:
    """A row for each way to run the network."""
    from darknet_py.inference import benchmark
    from darknet_py.inference.fused_network import optimise

    dtype, tensor_cores = PRECISIONS[precision]
    with tf32(tensor_cores):
        runs: dict[str, Callable[[Tensor], Any]] = {
            "one by one": optimise(network, dtype=dtype),
            "graph": optimise(network, dtype=dtype, graph=True),
        }
        if args.compile:
            runs["compile"] = optimise(network, dtype=dtype, compile=True)
        times = benchmark.interleaved(runs, x, repeats=args.repeats, warm=3)
        best = max(benchmark.rates(network, dtype=dtype).values())
        for name, run in runs.items():
            ms = statistics.median(times[name])
            rate = network.flops * len(x) / 1e6 / ms
            off = max(_apart(a, b[:1].cpu()) for a, b in zip(expected, run(x), strict=True))
            speed = f"{ms:.2f} | {1000 * len(x) / ms:.0f} | {rate / best:.0%} of {best / 1000:.0f} TFLOP/s"
            yield f"{name} | {speed} | {off:.0e}"


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt() / a.square().mean().sqrt())


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Convolutions and matrix products of float32 in ten bits of mantissa, or not."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


if __name__ == "__main__":
    sys.exit(main())
