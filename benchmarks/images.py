#!/usr/bin/env python3
"""Compare the speed of detection on image files with the speed of the network alone.

    python benchmarks/images.py CFG WEIGHTS FOLDER [--batch 1] [--threads 2] [--engine torch] [--dtype fp32]

Prints images per second from files to boxes and of the network alone at the same batch size, interleaved, and the
median ratio of the two.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import time


def main() -> int:
    """Measure and print the result."""
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

    darknet_py.keep_freed_memory()
    torch.set_num_threads(args.threads)
    network = darknet_py.load(args.cfg, args.weights)
    detector = darknet_py.Detector(network, batch=args.batch, engine=args.engine, dtype=args.dtype)
    images = sorted(args.folder.rglob("*.jpg"))
    x = torch.rand(args.batch, *network.shape)
    from_files: list[float] = []
    network_only: list[float] = []
    with torch.inference_mode():
        detector(images[0])
        for _ in range(args.repeats):
            start = time.perf_counter()
            for _ in detector.stream(images):
                pass
            from_files.append(len(images) / (time.perf_counter() - start))
            start = time.perf_counter()
            for _ in range(0, len(images), args.batch):
                detector.run(x)
            network_only.append(len(images) / (time.perf_counter() - start))
    files, net = statistics.median(from_files), statistics.median(network_only)
    ratio = statistics.median(a / b for a, b in zip(from_files, network_only, strict=True))
    print(f"{files:.1f} images/s from files to boxes, {net:.1f} images/s of the network alone: {ratio:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
