#!/usr/bin/env python3
"""Time networks on a GPU relative to its peak throughput: the GPU table of docs/performance.md.

    python benchmarks/gpu.py [CFG ...] [--batches 1 32] [--repeats 20] [--compile]

For each network and batch size: fp32, tf32 and fp16, eager, as a CUDA graph and, with ``--compile``, with
torch.compile. Columns: median milliseconds of interleaved runs, images per second, throughput relative to the best of
some large convolutions and a matrix product in the same precision, and the RMS of the difference from the CPU's
outputs relative to their RMS. yolov7.cfg is part of AlexeyAB's repository: give its path.
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
    """Time the networks and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG", default=NETWORKS)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well (a minute per row)")
    args = parser.parse_args()

    import torch

    import darknet_py
    from darknet_py.inference.benchmark import set_unit_variance

    if not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| network | precision | mode | ms | images/s | of peak | difference from the CPU |")
    print("|---|---|---|---|---|---|---|")
    warnings.simplefilter("ignore")
    for name in args.networks:
        path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
        network = darknet_py.load(path)
        set_unit_variance(network)
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
    """Yield a row for each mode of execution."""
    from darknet_py.inference import benchmark
    from darknet_py.inference.fused_network import optimise

    dtype, tensor_cores = PRECISIONS[precision]
    with tf32(tensor_cores):
        runs: dict[str, Callable[[Tensor], Any]] = {
            "eager": optimise(network, dtype=dtype),
            "graph": optimise(network, dtype=dtype, graph=True),
        }
        if args.compile:
            runs["compile"] = optimise(network, dtype=dtype, compile=True)
        times = benchmark.time_interleaved(runs, x, repeats=args.repeats, warmup=3)
        peak = max(benchmark.measure_peaks(network, dtype=dtype).values())
        for name, run in runs.items():
            ms = statistics.median(times[name])
            gflops = network.flops * len(x) / 1e6 / ms
            difference = max(_relative_rms(a, b[:1].cpu()) for a, b in zip(expected, run(x), strict=True))
            speed = f"{ms:.2f} | {1000 * len(x) / ms:.0f} | {gflops / peak:.0%} of {peak / 1000:.0f} TFLOP/s"
            yield f"{name} | {speed} | {difference:.0e}"


def _relative_rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt() / a.square().mean().sqrt())


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in float32 convolutions and matrix products inside the block."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


if __name__ == "__main__":
    sys.exit(main())
