"""Kill processes that write files at random moments, and check what they leave.

    python -m tools.kill_test --kills 1000 --seed 1

Four kinds of work are killed with SIGKILL in turn: saving weights and checkpoints, exporting, downloading, training.
After each kill every file is a complete old or new one. At the end each kind of work is done once more without a kill:
no temporary file is left, and the weights of the training that was killed and resumed are, bit for bit, those of one
that was not. Prints a table, and ends with status 1 if a check failed.

The processes are forked from this one, which has imported everything; so a kill takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from darknet_py.errors import DarknetError
from tests.helpers import http_server

from .processes import kill_after
from .works import Downloading, Exporting, Saving, Training

_PROGRESS = 50  # kills between lines of progress


def kill_repeatedly(kills: int, seed: int, folder: pathlib.Path, report: Callable[[str], None]) -> list[str]:
    """Kill each kind of work in turn, ``kills`` times in all, and return the failed checks."""
    rng = random.Random(seed)
    failures: list[str] = []
    with ExitStack() as stack:
        site = stack.enter_context(http_server.site())
        works = [
            Saving(folder / "saving"),
            Exporting(folder / "exporting"),
            Downloading(folder / "downloading", site),
            Training(folder / "training"),
        ]
        for work in works:
            work.prepare()
        counts = dict.fromkeys(works, 0)
        for number in range(kills):
            work = works[number % len(works)]
            killed = kill_after(work.run, rng.uniform(0, work.period))
            counts[work] += killed
            _check(work.check, f"kill {number} (seed {seed}): {type(work).__name__}", failures)
            if (number + 1) % _PROGRESS == 0:
                report(f"{number + 1} kills, {len(failures)} failed checks")
        for work in works:
            _check(work.finish, f"afterwards: {type(work).__name__}", failures)
        for work in works:
            compared = f", {work.completed} trainings compared" if isinstance(work, Training) else ""
            report(f"{type(work).__name__:12} {counts[work]} kills{compared}")
    return failures


def _check(check: Callable[[], None], place: str, failures: list[str]) -> None:
    try:
        check()
    except (AssertionError, DarknetError) as error:
        failures.append(f"{place}: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, metavar="N", help="kills in all (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        failures = kill_repeatedly(args.kills, args.seed, pathlib.Path(folder), functools.partial(print, flush=True))
    for failure in failures:
        print(failure)
    print(f"{len(failures)} failed checks, {time.monotonic() - start:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
