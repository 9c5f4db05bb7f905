"""Time functions against each other: interleaved (a, b, c, b, c, a, ...), so that a slow minute affects all of them.

Before each turn there is a pause, because idle threads of most runtimes spin on the cores that the next one needs, and
an untimed call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

_PAUSE = 0.05  # seconds until idle threads of a runtime sleep

Run = Callable[[Tensor], Any]
Clock = Callable[[], float]


def time_interleaved(
    runs: Mapping[str, Run],
    x: Tensor,
    *,
    repeats: int = 10,
    warmup: int = 2,
    seconds: float = 0.1,
    cpu_time: bool = False,
) -> dict[str, list[float]]:
    """Time several functions of ``x``, interleaved.

    Args:
        runs: The functions by name.
        x: Their argument, float32 [batch, channels, height, width].
        repeats: Timed rounds. Each begins with another function than the round before.
        warmup: Untimed rounds before them.
        seconds: The calls of a function in a timed round take together at least this.
        cpu_time: Measure the CPU time of the process instead of wall-clock time: for one thread on a busy machine.

    Returns:
        Times in milliseconds by name, one per round: the median of the round's calls. Times of a round can be compared
        with each other even where the machine's speed varies between rounds.
    """
    clock = time.process_time if cpu_time else time.perf_counter
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode():
        for name in names * warmup:
            runs[name](x)
        for number in range(repeats):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(_PAUSE)
                times[name].append(1000 * statistics.median(_time_calls(runs[name], x, seconds, clock)))
    return times


def _time_calls(run: Run, x: Tensor, seconds: float, clock: Clock) -> list[float]:
    """Return the seconds of each of the calls that take together at least ``seconds``, after an untimed one."""
    run(x)
    times: list[float] = []
    start = now(x, clock)
    end = start + seconds
    while not times or start < end:
        run(x)
        stop = now(x, clock)
        times.append(stop - start)
        start = stop
    return times


def now(x: Tensor, clock: Clock = time.perf_counter) -> float:
    """Return the time by the clock, after the device of ``x`` has finished its work."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock()
