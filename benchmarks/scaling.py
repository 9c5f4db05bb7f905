#!/usr/bin/env python3
"""Measure how time and memory scale with batch size and input size.

    python benchmarks/scaling.py [CFG ...] [--dtype bf16] [--threads 2] [--repeats 5]

A row per configuration: the fastest run in milliseconds, picoseconds per operation, and that relative to the median
of the rows with batch 4 and more; the growth of the process's resident memory during the run, relative to the largest
sum of outputs that are alive at once (Linux only: /proc/self). Weights are loaded before and not counted. Needs an
idle machine; the fastest run is the one that other processes disturb least.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import warnings

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
BATCHES = (1, 2, 4, 8, 16, 32)
SIZES = (320, 416, 512, 608, 800, 960, 1280)


def main() -> int:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG", default=["yolov4-tiny.cfg"])
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", type=int, nargs=2, metavar=("SIZE", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(*measure(args, *args.one))
        return 0
    for name in args.networks:
        heading = "ms | ps/FLOP | relative to the median | growth MB | live MB | growth / live"
        print(f"| {pathlib.Path(name).stem} {args.dtype} | {heading} |")
        print("|---|---|---|---|---|---|---|")
        configurations = [(0, batch) for batch in BATCHES] + [(size, 4) for size in SIZES]  # 0: the cfg's size
        # A process per row: memory that was freed after an earlier row would hide the growth.
        command = [sys.executable, __file__, name, "--dtype", args.dtype, "--threads", str(args.threads)]
        rows = []
        for size, batch in configurations:
            line = [*command, "--repeats", str(args.repeats), "--one", str(size), str(batch)]
            text = subprocess.run(line, check=True, capture_output=True, text=True).stdout
            rows.append([float(word) for word in text.split()])
        median = statistics.median(
            row[1] / row[2] for row, (_, batch) in zip(rows, configurations, strict=True) if batch >= 4
        )
        for (_, batch), (side, ms, gflop, growth, live) in zip(configurations, rows, strict=True):
            share = ms / gflop / median
            figures = f"{ms:.1f} | {ms / gflop:.2f} | {share:.2f} | {growth:.0f} | {live:.0f} | {growth / live:.2f}"
            print(f"| {side:.0f} b{batch} | {figures} |", flush=True)
    return 0


def measure(args: argparse.Namespace, size: int, batch: int) -> tuple[float, ...]:
    """Return width of the input, milliseconds, GFLOP, growth of memory and live outputs in MB."""
    import time

    import torch

    import darknet_py
    from darknet_py.inference.benchmark import set_unit_variance
    from darknet_py.inference.fused_network import optimise

    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    path = pathlib.Path(args.networks[0])
    path = path if path.exists() else CFGS / path
    network = darknet_py.load(path, size=(size, size) if size else None)
    set_unit_variance(network)
    darknet_py.keep_freed_memory()
    fast = optimise(network, dtype=args.dtype)
    x = torch.rand(batch, *network.shape)
    small = torch.rand(1, network.shape.channels, 64, 64)
    with torch.inference_mode():
        fast(small)  # loads oneDNN's kernels and starts threads
        before = read_memory("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        seconds = []
        for _ in range(args.repeats + 1):
            start = time.perf_counter()
            fast(x)
            seconds.append(time.perf_counter() - start)
        growth = read_memory("VmHWM") - before
    gflop = network.flops * batch / 1e9
    return network.shape.width, 1000 * min(seconds[1:]), gflop, growth, fast.peak_activation_memory(batch) / 1e6


def read_memory(name: str) -> float:
    """Return a size of /proc/self/status in MB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
