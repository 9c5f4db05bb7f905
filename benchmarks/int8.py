#!/usr/bin/env python3
"""mAP, milliseconds and size of networks in float and in int8: the tables of docs/export.md and docs/performance.md.

    python benchmarks/int8.py DATA CFG:WEIGHTS [CFG:WEIGHTS ...] [--calibration-images 64] [--threads 2] [--repeats 20]

Each network is exported by ``darknet_py.export_int8`` for ONNX Runtime and, where nncf is installed, for OpenVINO, with
mAP by the coco protocol (extra ``eval``). Prints a row of Markdown for each file and, below the table, which layers
stayed in float. The milliseconds need an idle machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darknet_py.quantization.result import Int8Result

METRICS = ("mAP@0.50:0.95", "mAP@0.50")


def main() -> int:
    """Export, measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("networks", nargs="+", metavar="CFG:WEIGHTS")
    parser.add_argument("--calibration-images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()

    import torch

    import darknet_py

    torch.set_num_threads(args.threads)
    suffixes = [".onnx", *([".xml"] if importlib.util.find_spec("nncf") else [])]
    header = ("network", "runtime", "", *(f"{name}, %" for name in METRICS), "ms", "MB")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        for cfg, _, weights in (network.partition(":") for network in args.networks):
            name = pathlib.Path(cfg).stem
            for suffix in suffixes:
                result = darknet_py.export_int8(
                    darknet_py.load(cfg, weights),
                    pathlib.Path(folder, f"{name}{suffix}"),
                    args.data,
                    calibration_images=args.calibration_images,
                    protocol="coco",
                    repeats=args.repeats,
                    on_step=lambda step: print(step, file=sys.stderr, flush=True),
                )
                print("\n".join(rows(name, result)), flush=True)
                notes.append(f"* {name}, {result.runtime}: in float {', '.join(result.in_float) or 'none'}")
    print("\n".join(["", f"{args.threads} threads, processor {result.processor}", *notes]))
    return 0


def rows(name: str, result: Int8Result) -> list[str]:
    """Return the rows of a file, for float and int8."""
    lines = []
    for kind in ("float", "int8"):
        scores = [f"{100 * result.scores[kind][metric]:.2f}" for metric in METRICS]
        cells = (name, result.runtime, kind, *scores, f"{result.ms[kind]:.1f}", f"{result.bytes[kind] / 1e6:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
