"""Fuzz the readers of files.

    python -m tools.fuzz                             all kinds, 60 s in total
    python -m tools.fuzz cfg labels --cases 100000   so many cases of each of these kinds
    python -m tools.fuzz --long --log fuzz.jsonl     the long run; started again, it goes on where it was stopped
    python -m tools.fuzz cfg --start 1234 --cases 1 --keep .     one case: its file and its traceback
    python -m tools.fuzz cfg --guided --seconds 600  coverage-guided, with atheris (pip install atheris)

Each case is a valid file with random changes. The outcome must be a result or a DarknetError within 20 s and 6 GB of
memory; anything else is a fault, and the exit status is 1. A case depends on its kind, the seed and its number only.
The cases run in a worker process, which is replaced after a hang or a crash.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from tqdm import tqdm

from darknet_py._table import format_table

from .targets import TARGETS
from .worker import Outcome, Worker

_SHORT_SECONDS = 60.0
_PROGRESS_CASES = 1000  # between two lines of the log


class Fault(NamedTuple):
    """The first case with a fault at this place."""

    place: str
    case: int
    detail: str


class Report:
    """Counts of the outcomes of one kind, and its faults."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.counts: collections.Counter[str] = collections.Counter()
        self.faults: dict[str, Fault] = {}
        self.seconds = 0.0

    def add(self, case: int, outcome: Outcome) -> None:
        """Count an outcome."""
        self.counts[outcome.kind] += 1
        if outcome.is_fault:
            place = f"{outcome.kind}: {outcome.place}"
            self.faults.setdefault(place, Fault(place, case, outcome.detail))

    def row(self) -> tuple[str, ...]:
        """Its line in the table."""
        kinds = ("result", "error", "exception", "hang", "crash")
        return (
            self.target,
            str(self.counts.total()),
            *(str(self.counts[kind]) for kind in kinds),
            f"{self.seconds:.0f}",
        )


HEADER = ("kind", "cases", "results", "errors", "exceptions", "hangs", "crashes", "seconds")


def fuzz(
    target: str,
    seed: int,
    cases: range,
    seconds: float,
    keep: pathlib.Path | None = None,
    log: pathlib.Path | None = None,
) -> Report:
    """Run cases of one kind until all have run or the time is over.

    Args:
        target: a name of ``TARGETS``.
        seed: the seed.
        cases: numbers of the cases.
        seconds: time limit, without the preparation of the seeds.
        keep: folder for the mutated files.
        log: JSON lines; after each thousand cases the next number and the faults are appended.
    """
    report = Report(target)
    with (
        Worker(target, seed) as worker,
        tqdm(cases, desc=target, unit="case", disable=None, file=sys.stderr) as numbers,
    ):
        start = time.monotonic()
        for case in numbers:
            report.add(case, worker.run(case, keep))
            report.seconds = time.monotonic() - start
            is_last = report.seconds > seconds or case == cases[-1]
            if log is not None and (is_last or (case + 1) % _PROGRESS_CASES == 0):
                _append(log, report, seed, case + 1)
            if report.seconds > seconds:
                break
    return report


def _append(log: pathlib.Path, report: Report, seed: int, following: int) -> None:
    entry = {
        "kind": report.target,
        "seed": seed,
        "next": following,
        "counts": report.counts,
        "seconds": report.seconds,
        "faults": [fault._asdict() for fault in report.faults.values()],
    }
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _next_case(log: pathlib.Path | None, target: str, seed: int) -> int:
    """The case with which an earlier run of this log would have gone on."""
    if log is None or not log.exists():
        return 0
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return max((entry["next"] for entry in entries if (entry["kind"], entry["seed"]) == (target, seed)), default=0)


def _run_guided(target_name: str, seconds: float) -> None:
    """Run libFuzzer on a target, through atheris; a fault ends the process with a traceback."""
    import tempfile

    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["darknet_py"]):
        from .targets.base import read_quietly

        target = TARGETS[target_name](pathlib.Path(tempfile.mkdtemp(prefix="fuzz-")))
    path = target.seeds[0].with_name(f"fuzzed{target.seeds[0].suffix}")

    def fuzz_one(data: bytes) -> None:
        path.write_bytes(data)
        read_quietly(target, path)

    corpus = tempfile.mkdtemp(prefix="corpus-")
    for seed in target.seeds:
        pathlib.Path(corpus, seed.name).write_bytes(seed.read_bytes())
    atheris.Setup(
        [sys.argv[0], corpus, f"-max_total_time={seconds:.0f}", "-timeout=20", "-rss_limit_mb=6144", "-max_len=65536"],
        fuzz_one,
    )
    atheris.Fuzz()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        "python -m tools.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"kinds of files: {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations (default: 0)")
    parser.add_argument(
        "--start", type=int, metavar="N", help="number of the first case (default: 0, or where --log ends)"
    )
    parser.add_argument(
        "--cases", type=int, metavar="N", help="number of cases of each kind (default: as many as fit into the time)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="time for all kinds together (default: 60 without --cases)"
    )
    parser.add_argument(
        "--long",
        action="store_true",
        help="100,000 cases of each kind of text and of .weights, 10,000 of the other kinds",
    )
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="copy the mutated files into this folder")
    parser.add_argument("--log", type=pathlib.Path, metavar="FILE", help="append progress and faults as JSON lines")
    parser.add_argument("--guided", action="store_true", help="coverage-guided by atheris; one kind")
    args = parser.parse_args(argv)
    unknown = [kind for kind in args.kinds if kind not in TARGETS]
    if unknown:
        parser.error(f"unknown kind {unknown[0]!r}: expected {', '.join(TARGETS)}")
    if args.guided and len(args.kinds) != 1:
        parser.error("--guided: expected one kind")
    return args


def _reports(args: argparse.Namespace) -> Iterator[Report]:
    kinds = args.kinds or list(TARGETS)
    limited = args.seconds if args.seconds is not None else None if args.cases or args.long else _SHORT_SECONDS
    seconds = float("inf") if limited is None else limited / len(kinds)
    for kind in kinds:
        start = args.start if args.start is not None else _next_case(args.log, kind, args.seed)
        count = TARGETS[kind].cases
        end = start + args.cases if args.cases else count if args.long else sys.maxsize
        if start < end:
            yield fuzz(kind, args.seed, range(start, end), seconds, args.keep, args.log)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status is 1 if there was a fault."""
    args = _parse(argv)
    if args.guided:
        _run_guided(args.kinds[0], args.seconds or _SHORT_SECONDS)
        return 0
    reports = []
    for report in _reports(args):
        reports.append(report)
        for fault in report.faults.values():
            print(
                f"{report.target} --seed {args.seed} --start {fault.case} --cases 1: {fault.place}\n{fault.detail}",
                file=sys.stderr,
            )
    print("\n".join(format_table([HEADER, *(report.row() for report in reports)], "<>")))
    return int(any(report.faults for report in reports))


if __name__ == "__main__":
    sys.exit(main())
