#!/usr/bin/env python3
"""Compare the training speed of C Darknet and this package on the same cfg and images.

    python benchmarks/training.py DATA [CFG[:BATCH[:SUBDIVISIONS]] ...] [--darknet PATH] [--iterations 30] [--rounds 3]
    python benchmarks/training.py DATA yolov4.cfg:16 --device cuda      with and without AMP

DATA is a .data file with train= and names=. In each round, the training commands of both run a part of the
iterations, from random weights and without mAP. The time from the end of the first iteration to the end of the last is
measured by the lines that they print, so it includes loading and augmentation, but not the start of the program. A row
is the median of the rounds. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = ("yolov4-tiny.cfg:8",)
ITERATION_LINE = re.compile(rb"^\s*(\d+): [\d.naif-]+, [\d.naif-]+ avg loss", re.MULTILINE)


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH[:SUBDIVISIONS]]", default=NETWORKS)
    parser.add_argument("--darknet", type=pathlib.Path, help="the C program (default: not timed)")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    kinds = {"fp32": ["--device", args.device]}
    if args.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            print("no CUDA device", file=sys.stderr)
            return 1
        for name in ("bf16", "fp16"):
            kinds[name] = [*kinds["fp32"], "--amp", name, "--channels-last"]
    columns = (["C"] if args.darknet else []) + list(kinds) + (["fp32 / C"] if args.darknet else [])
    print(f"| images per second, {args.threads} threads |", " | ".join(columns), "|")
    print("|" + "---|" * (len(columns) + 1))
    for network in args.networks:
        print(row(args, network, kinds), flush=True)
    return 0


def row(args: argparse.Namespace, network: str, kinds: dict[str, list[str]]) -> str:
    """Measure one network and return its row."""
    name, batch, subdivisions = (network.split(":") + ["8", "1"][network.count(":") :])[:3]
    steps = max(args.iterations // args.rounds, 1) + 1
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cfg = pathlib.Path(folder, "network.cfg")
        path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
        values = {"batch": batch, "subdivisions": subdivisions, "max_batches": str(steps), "burn_in": "1000"}
        cfg.write_text(set_net_values(path.read_text(), values))
        data = pathlib.Path(folder, "set.data")
        data.write_text(f"backup={folder}\n{args.data.read_text()}")  # the first value of a repeated key counts
        command = [sys.executable, "-m", "darknet_py", "train", str(data), str(cfg), "--no-map", "--chart", ""]
        lines = {kind: [*command, "--output", folder, *more] for kind, more in kinds.items()}
        if args.darknet:
            lines["C"] = [str(args.darknet.resolve()), "detector", "train", str(data), str(cfg), "-clear", "-dont_show"]
        for _ in range(args.rounds):
            for kind, line in lines.items():
                seconds = time_training(line, args.threads, steps, folder)
                speeds.setdefault(kind, []).append(int(batch) * (steps - 1) / seconds)
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    cells = [f"{medians[kind]:.1f}" for kind in ("C", *kinds) if kind in medians]
    cells += [f"{medians['fp32'] / medians['C']:.2f}"] if args.darknet else []
    return f"| {path.stem}, batch {batch} in {subdivisions} | " + " | ".join(cells) + " |"


def time_training(line: Sequence[str], threads: int, steps: int, folder: str) -> float:
    """Return the seconds from the end of the first iteration to the end of the last.

    The command runs in a pseudo-terminal, because C flushes every line to terminals only.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(CFGS.parent)}
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=environment, cwd=folder
    )
    os.close(writer)
    times: dict[int, float] = {}
    text = b""
    while True:
        try:
            text += os.read(reader, 65536)
        except OSError:  # the process has exited
            break
        for match in ITERATION_LINE.finditer(text):
            times.setdefault(int(match[1]), time.perf_counter())
    os.close(reader)
    if process.wait() or not {1, steps} <= set(times):
        raise SystemExit(f"{' '.join(line)} failed:\n{text[-2000:].decode(errors='replace')}")
    return times[steps] - times[1]


def set_net_values(text: str, values: dict[str, str]) -> str:
    """Return a cfg with other values for keys of [net].

    A long burn-in keeps the learning rate near 0: training from random weights may diverge.
    """
    head, rest = re.split(r"(?=\n\[(?!net))", text, maxsplit=1)
    kept = [line for line in head.splitlines() if line.partition("=")[0].strip() not in values]
    return "\n".join((*kept, *(f"{key}={value}" for key, value in values.items()), rest))


if __name__ == "__main__":
    sys.exit(main())
