#!/usr/bin/env python3
"""Whether cost grows as it should: time for each GFLOP and peak memory over batch sizes and input sizes.

    python benchmarks/scaling.py [CFG ...] [--dtype bf16] [--threads 2] [--repeats 5]

A row a configuration: the fastest run in milliseconds, picoseconds for each operation, and that over the median of the
rows of batch 4 and more; the process's growth while it runs over the largest sum of outputs that are alive at once
(Linux alone: /proc/self). Weights are loaded before and not counted. Wants an idle machine; the fastest run is what
a machine that others slow down from time to time says least wrong.
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
BATCHES, SIZES = (1, 2, 4, 8, 16, 32), (320, 416, 512, 608, 800, 960, 1280)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG", default=["yolov4-tiny.cfg"])
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", type=int, nargs=2, metavar=("SIZE", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(*measured(args, *args.one))
        return 0
    for name in args.networks:
        heading = "ms | ps/FLOP | of the median | growth MB | live MB | growth / live"
        print(f"| {pathlib.Path(name).stem} {args.dtype} | {heading} |")
        print("|---|---|---|---|---|---|---|")
        at = [(0, batch) for batch in BATCHES] + [(size, 4) for size in SIZES]
        # A process each: memory that an earlier row left behind would hide what this one takes.
        command = [sys.executable, __file__, name, "--dtype", args.dtype, "--threads", str(args.threads)]
        rows = []
        for size, batch in at:
            line = [*command, "--repeats", str(args.repeats), "--one", str(size), str(batch)]
            text = subprocess.run(line, check=True, capture_output=True, text=True).stdout
            rows.append([float(word) for word in text.split()])
        usual = statistics.median(row[1] / row[2] for row, (_, batch) in zip(rows, at, strict=True) if batch >= 4)
        for (_, batch), (side, ms, gflop, grown, alive) in zip(at, rows, strict=True):
            share = ms / gflop / usual
            figures = f"{ms:.1f} | {ms / gflop:.2f} | {share:.2f} | {grown:.0f} | {alive:.0f} | {grown / alive:.2f}"
            print(f"| {side:.0f} b{batch} | {figures} |", flush=True)
    return 0


def measured(args: argparse.Namespace, size: int, batch: int) -> tuple[float, ...]:
    """Side of the input, milliseconds, GFLOP, growth and live outputs in MB."""
    import time

    import torch

    import darknet_py
    from darknet_py.inference.allocator import keep_freed_memory
    from darknet_py.inference.fused_network import optimise

    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    path = pathlib.Path(args.networks[0])
    path = path if path.exists() else CFGS / path
    network = darknet_py.load(path, size=(size, size) if size else None)
    for key, tensor in network.named_buffers():
        if key.endswith("rolling_variance"):  # Darknet starts with 0, of which values grow out of bounds
            tensor.fill_(1.0)
    keep_freed_memory()
    fast = optimise(network, dtype=args.dtype)
    x = torch.rand(batch, *network.shape)
    small = torch.rand(1, network.shape.channels, 64, 64)
    with torch.inference_mode():
        fast(small)  # oneDNN's code and threads are there
        before = memory("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
        seconds = []
        for _ in range(args.repeats + 1):
            started = time.perf_counter()
            fast(x)
            seconds.append(time.perf_counter() - started)
        grown = memory("VmHWM") - before
    gflop = network.flops * batch / 1e9
    return network.shape.width, 1000 * min(seconds[1:]), gflop, grown, fast.live(batch) / 1e6


def memory(name: str) -> float:
    """A figure of /proc/self/status in MB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
