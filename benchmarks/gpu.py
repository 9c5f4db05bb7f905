#!/usr/bin/env python3
"""Time inference and training on a GPU: the tables of docs/performance.md, with a time budget for each part.

    python -m benchmarks.gpu FOLDER [--networks CFG ...] [--batches 1 8 32] [--device cuda]

FOLDER gets results.json and results.md, from which nothing is lost if the run is killed. Weights are drawn from a seed.
A part ends within its budget and a few seconds: a measurement stops between iterations, and is skipped by name if it
has no time for one; one that takes longer in between is interrupted. One that fails is reported with its error.

Inference: median milliseconds, images per second, throughput relative to that of a product of two large matrices in the
same precision, RMS of the difference from the CPU's outputs relative to their RMS, and the share of the CPU's boxes
that have one with an IoU above 0.9. ``plain`` is the network itself, in the precision of the row. ``torch.compile`` is
tried with one network and one image. Training: images per second and peak memory of iterations on random images and
targets, which are on the device, in the largest mini-batch that fits; convolutions of float32 take TF32, as is torch's
default.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.gpu_measurements import PRECISIONS, Deadline, Measure, OutOfTime, Row, compiled, inference, training

NETWORKS = ("yolov4-tiny.cfg", "yolov4.cfg", "yolov7.cfg")
GOALS = (  # of yolov4 at 608 in fp16: batch, key, limit, and whether it is the least that is expected
    (1, "ms", 2.0, False),
    (32, "of_peak", 0.4, True),
)
GRACE = 5  # seconds until a measurement is interrupted that does not stop by itself


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", metavar="CFG", default=list(NETWORKS))
    parser.add_argument("--compile", metavar="CFG", default="yolov4.cfg")
    parser.add_argument("--training", nargs="+", metavar="CFG", default=["yolov4-tiny.cfg", "yolov4.cfg"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(reversed(PRECISIONS)))
    parser.add_argument("--training-batch", type=int, default=64)
    parser.add_argument("--size", type=int, help="width and height instead of the cfg's")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--inference-seconds", type=float, default=150)
    parser.add_argument("--compile-seconds", type=float, default=60)
    parser.add_argument("--training-seconds", type=float, default=120)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args(arguments)

    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {"card": args.device, "torch": torch.__version__, "cuda": torch.version.cuda}
    if args.device == "cuda":
        gb = torch.cuda.get_device_properties(0).total_memory / 1e9
        results |= {"card": torch.cuda.get_device_name(), "gb": gb, "cudnn": torch.backends.cudnn.version()}
    parts: tuple[tuple[str, float, float, Iterator[tuple[Row, Measure]]], ...] = (
        ("inference", args.inference_seconds, GRACE, inference(args)),
        ("compile", args.compile_seconds, 0, compiled(args)),  # it compiles for as long as it is left to
        ("training", args.training_seconds, GRACE, training(args)),
    )
    args.folder.mkdir(parents=True, exist_ok=True)
    for part, seconds, grace, measurements in parts:
        results[part] = []
        deadline = Deadline(seconds)
        for row, measure in measurements:
            results[part].append(row | attempt(measure, deadline, grace))
            write(args.folder, results)
    print((args.folder / "results.md").read_text())
    return 0


def attempt(measure: Measure, deadline: Deadline, grace: float = GRACE) -> Row:
    """Measure, or say why not."""
    try:
        deadline.check()
        with interrupted(deadline, grace):
            return measure(deadline)
    except OutOfTime:
        return {"skipped": "out of time"}
    except Exception as error:  # one precision or mode must not end the run
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


@contextmanager
def interrupted(deadline: Deadline, grace: float) -> Iterator[None]:
    """Raise OutOfTime ``grace`` seconds after the deadline inside the block, where the system has such a signal."""

    def stop(*_: object) -> None:
        raise OutOfTime

    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(deadline.remaining + grace, 0.001))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def write(folder: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Write results.json, and the same as tables."""
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    facts = {key: value for key, value in results.items() if not isinstance(value, list)}
    lines = [", ".join(f"{key} {cell(value)}" for key, value in facts.items())]
    lines += goals(results)
    for part, rows in results.items():
        if isinstance(rows, list) and rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            lines += ["", f"## {part}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
            lines += [f"| {' | '.join(cell(row.get(column, '')) for column in columns)} |" for row in rows]
    (folder / "results.md").write_text("\n".join(lines) + "\n")


def goals(results: Mapping[str, Any]) -> list[str]:
    """Return a line for each goal that was measured, with the best of all modes."""
    rows = [row for part in ("inference", "compile") for row in results.get(part, ())]
    lines = []
    for batch, key, limit, is_least in GOALS:
        wanted = {"network": "yolov4.cfg", "size": 608, "batch": batch, "precision": "fp16"}
        values = [row[key] for row in rows if key in row and wanted.items() <= row.items()]
        if values:
            best = max(values) if is_least else min(values)
            is_met = best >= limit if is_least else best < limit
            goal = f"{'at least' if is_least else 'below'} {limit}: {'met' if is_met else 'missed'}"
            lines += ["", f"yolov4 608 fp16 batch {batch}: {key} {cell(best)}, goal {goal}"]
    return lines


def cell(value: Any) -> str:
    """Format a number with three digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
