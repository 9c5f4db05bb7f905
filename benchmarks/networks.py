#!/usr/bin/env python3
"""The table of docs/performance.md: our engines and other runtimes on a row of networks, in turn.

    python benchmarks/networks.py [CFG[:BATCH] ...] [--dtype bf16] [--threads 2] [--repeats 10] [--busy]

Prints a row of Markdown a network as it is measured: medians in milliseconds, network alone, and our time over
each peer's. Wants an idle machine; on one that others use, ``--busy`` measures CPU time on one thread, which compares
the arithmetic and leaves out how well it spreads over cores. OpenCV 5 reads no cfg files; put 4.x first on the
path: pip install --no-deps --target opencv4 "opencv-python-headless==4.*"; PYTHONPATH=opencv4 python ...
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = ("yolov4-tiny.cfg", "yolov4-tiny.cfg:8", "yolov3-tiny.cfg", "yolov4.cfg", "yolov4-csp.cfg")
PEERS = ("torch", "plain", "openvino", "onnxruntime", "opencv")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH]", default=NETWORKS)
    parser.add_argument("--dtype", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--busy", action="store_true")
    args = parser.parse_args()
    if args.busy:
        args.threads = 1
        os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    print(f"| {args.dtype}, {args.threads} threads | GFLOP |", " | ".join(PEERS), "| torch / peer |")
    print("|" + "---|" * (len(PEERS) + 3))
    for network in args.networks:
        print(row(args, *network.partition(":")[::2]), flush=True)
    return 0


def row(args: argparse.Namespace, name: str, batch: str) -> str:
    """Measure one network."""
    import torch

    import darknet_py
    from darknet_py.speed import benchmark

    torch.set_num_threads(args.threads)
    path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
    network = darknet_py.load(path, device=args.device)
    for key, tensor in network.named_buffers():
        if key.endswith("rolling_variance"):  # Darknet starts with 0, of which values grow out of bounds
            tensor.fill_(1.0)
    x = torch.rand(int(batch or 1), *network.shape, device=args.device)
    with benchmark.peers(network, dtype=args.dtype) as runs:
        found = benchmark.interleaved(runs, x, repeats=args.repeats, busy=args.busy)
    ms = {peer: statistics.median(times) for peer, times in found.items()}
    cells = [f"{ms[peer]:.1f}" if peer in ms else "-" for peer in PEERS]
    ratios = ", ".join(f"{peer} {ms['torch'] / ms[peer]:.2f}" for peer in PEERS[1:] if peer in ms)
    size = f"{path.stem} {network.shape.width} b{len(x)}"
    return f"| {size} | {network.flops * len(x) / 1e9:.1f} | {' | '.join(cells)} | {ratios} |"


if __name__ == "__main__":
    sys.exit(main())
