#!/usr/bin/env python3
"""How near a folder of images runs to the network's own speed.

    python benchmarks/images.py CFG WEIGHTS FOLDER [--batch 1] [--threads 2] [--engine torch] [--dtype fp32]

Prints images a second from files to boxes, those of the network alone at the same batch size, in turn, and the
median share of one in the other.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import time


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cfg")
    parser.add_argument("weights")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--dtype", default="fp32")
    args = parser.parse_args()

    import torch

    import darknet_py

    torch.set_num_threads(args.threads)
    network = darknet_py.load(args.cfg, args.weights)
    detector = darknet_py.Detector(network, batch=args.batch, engine=args.engine, dtype=args.dtype)
    images = sorted(args.folder.rglob("*.jpg"))
    x = torch.rand(args.batch, *network.shape)
    whole, alone = [], []
    with torch.inference_mode():
        detector(images[0])
        for _ in range(args.repeats):
            started = time.perf_counter()
            for _ in detector.stream(images):
                pass
            whole.append(len(images) / (time.perf_counter() - started))
            started = time.perf_counter()
            for _ in range(0, len(images), args.batch):
                detector.run(x)
            alone.append(len(images) / (time.perf_counter() - started))
    files, net = statistics.median(whole), statistics.median(alone)
    share = statistics.median(a / b for a, b in zip(whole, alone, strict=True))
    print(f"{files:.1f} images/s from files to boxes, {net:.1f} by the network alone: {share:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
