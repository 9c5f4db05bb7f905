#!/usr/bin/env python3
"""Time non-maximum suppression of many boxes, and print the table of docs/performance.md.

    python benchmarks/nms.py [--repeats N] [--busy]

``disjoint``: a grid of boxes, which suppresses nothing. ``uniform``: centres and sides uniform, sides up to the given
length of the image's. ``equal``: one box repeated. One thread; each case runs in a process of its own, and memory is
what it adds to the process at its peak. On a busy machine ``--busy`` measures CPU time.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import statistics
import time

import torch
from torch import Tensor

from darknet_py._table import format_table
from darknet_py.boxes import NMSKind, NMSOptions, RawDetections, batched_nms

# Kind of boxes, their number, the number of classes, and the longest side.
CASES = (
    ("disjoint", 20_000, 1, 0.0),
    ("uniform", 50_000, 80, 0.15),
    ("uniform", 50_000, 1, 0.15),
    ("uniform", 50_000, 1, 0.03),
    ("uniform", 50_000, 1, 1.0),
    ("equal", 50_000, 1, 0.0),
    ("uniform", 300, 80, 0.15),
)


def make(kind: str, count: int, classes: int, side: float) -> RawDetections:
    """Make boxes, each of one class, with random probabilities."""
    generator = torch.Generator().manual_seed(1)
    if kind == "disjoint":
        columns = math.ceil(math.sqrt(count))
        number = torch.arange(count)
        centres = torch.stack((number % columns, number // columns), dim=1) / columns
        boxes = torch.cat((centres, torch.full((count, 2), 0.9 / columns)), dim=1)
    elif kind == "equal":
        boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2]]).repeat(count, 1)
    else:
        boxes = torch.rand(count, 4, generator=generator)
        boxes[:, 2:] *= side
    scores = torch.rand(count, generator=generator)
    probs = torch.zeros(count, classes)
    probs[torch.arange(count), torch.randint(classes, (count,), generator=generator)] = scores
    return RawDetections(boxes, scores, probs)


def measure(case: tuple[str, int, int, float], kind: NMSKind, repeats: int, busy: bool) -> tuple[int, float, float]:
    """Return the number of boxes that are kept, the median time in seconds, and the memory in MB."""
    torch.set_num_threads(1)
    clock = time.process_time if busy else time.perf_counter
    detections, options = make(*case), NMSOptions(kind)
    batched_nms(make("uniform", 100, 2, 0.1), 0.45, options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, kept = [], Tensor()
    for _ in range(repeats):
        start = clock()
        kept = batched_nms(detections, 0.45, options).probs
        seconds.append(clock() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return int((kept > 0).sum()), statistics.median(seconds), memory


def main() -> None:
    """Print a row for each kind of boxes and of NMS."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--busy", action="store_true", help="measure CPU time instead of wall-clock time")
    args = parser.parse_args()
    rows = [("boxes", "number", "classes", "longest side", "nms_kind", "kept", "ms", "MB")]
    context = multiprocessing.get_context("fork")
    for case in CASES:
        for kind in (NMSKind.DEFAULT, NMSKind.GREEDYNMS):
            with context.Pool(1) as pool:
                kept, seconds, memory = pool.apply(measure, (case, kind, args.repeats, args.busy))
            name, count, classes, side = case
            sizes = (f"{count:,}", str(classes), f"{side:g}" if side else "")
            rows.append((name, *sizes, str(kind), f"{kept:,}", f"{1000 * seconds:.0f}", f"{memory:.0f}"))
    print("\n".join(format_table(rows, "<>>><>>>")))


if __name__ == "__main__":
    main()
