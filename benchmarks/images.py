#!/usr/bin/env python3
"""Compare the speed of detection on image files with the speed of the network alone.

    python benchmarks/images.py CFG WEIGHTS FOLDER [--batch 1] [--threads 2] [--engine torch] [--dtype fp32]

Prints images per second from files to boxes and of the network alone at the same batch size, interleaved, and the
median ratio of the two. ``-`` for WEIGHTS takes random ones, with which the network finds no box.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darknet_py.network import Network


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

    from darknet_py.inference.openmp import limit_spinning

    limit_spinning()  # as the command line does
    import torch

    import darknet_py

    darknet_py.keep_freed_memory()
    torch.set_num_threads(args.threads)
    network = random_network(args.cfg) if args.weights == "-" else darknet_py.load(args.cfg, args.weights)
    detector = darknet_py.Detector(network, batch=args.batch, engine=args.engine, dtype=args.dtype)
    images = sorted(args.folder.rglob("*.jpg"))
    if not images:
        parser.error(f"{args.folder}: expected a folder with .jpg files")
    x = torch.rand(args.batch, *network.shape)
    from_files: list[float] = []
    network_only: list[float] = []
    with torch.inference_mode():
        list(detector.stream(images))  # the engine auto makes its choice
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


def random_network(cfg: str) -> Network:
    """Return a network with random weights, but an objectness of 0."""
    import torch

    import darknet_py
    from darknet_py.inference.benchmark import set_unit_variance

    torch.manual_seed(0)
    network = darknet_py.load(cfg)
    set_unit_variance(network)
    layers = list(network)
    for head in network.heads:
        convolution = layers[layers.index(head) - 1]
        rows = slice(4, None, head.shape.channels // len(head.anchors))
        with torch.no_grad():
            convolution.get_parameter("weights")[rows] = 0
            convolution.get_parameter("biases")[rows] = -20
    return network


if __name__ == "__main__":
    sys.exit(main())
