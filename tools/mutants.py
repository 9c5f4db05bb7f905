#!/usr/bin/env python3
"""Mutation testing: change one line of the code at a time, and check that a test fails.

    tools/check mutants                   every mutation
    tools/check mutants ema tiling        the mutations of these features

Each mutation of tools/mutants.toml replaces a text that occurs once in a file, in a copy of the checkout; one of the
tests that it names must fail there. It is an error if a mutation survives (all its tests pass), or if its text does not
occur exactly once: change the table together with such a line. Tests that need ../shared are skipped in the copy, so a
fresh clone gives the same result.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT = 600
_TESTS_PASSED, _TESTS_FAILED = 0, 1  # exit codes of pytest


class Mutation(NamedTuple):
    """A change of the code that must make a test fail.

    Attributes:
        feature: the feature that it breaks, for the command line.
        file: path in the checkout, below darknet_py.
        old: the text that is replaced; it occurs once in the file.
        new: the text that replaces it.
        tests: arguments of pytest, relative to tests/; one of these tests must fail.
    """

    feature: str
    file: str
    old: str
    new: str
    tests: str


def read_table() -> list[Mutation]:
    """Read tools/mutants.toml."""
    with open(ROOT / "tools" / "mutants.toml", "rb") as file:
        return [Mutation(**row) for row in tomllib.load(file)["mutation"]]


class Outcome(NamedTuple):
    """The result of a mutation: killed, SURVIVED, or why there is none; duration in seconds; output of pytest."""

    word: str
    seconds: float
    output: str


def problem(mutation: Mutation) -> str:
    """Return why a mutation cannot be applied, or an empty string."""
    path = ROOT / "darknet_py" / mutation.file
    count = path.read_text(encoding="utf-8").count(mutation.old) if path.is_file() else 0
    if count != 1:
        return f"darknet_py/{mutation.file}: expected once, found {count} times: {mutation.old!r}"
    if mutation.old == mutation.new:
        return f"darknet_py/{mutation.file}: changes nothing: {mutation.old!r}"
    files = [word.partition("::")[0] for word in mutation.tests.split()]
    missing = [name for name in files if not (ROOT / "tests" / name).is_file()]
    return f"tests/{missing[0]}: no such file" if missing else ""


def copy_checkout(folder: pathlib.Path) -> None:
    """Copy the files that are tracked by git, and the untracked ones that it does not ignore."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def run_tests(folder: pathlib.Path, words: Sequence[str]) -> Outcome:
    """Run pytest in a copy."""
    options = ["-n", "0", "-x", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    line = [sys.executable, "-m", "pytest", *options, *(f"tests/{word}" for word in words)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "CI": "1"}
    started = time.monotonic()
    try:
        process = subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return Outcome("timeout", TIMEOUT, "")
    words_of = {_TESTS_PASSED: "SURVIVED", _TESTS_FAILED: "killed"}
    word = words_of.get(process.returncode, f"pytest ended with {process.returncode}")
    return Outcome(word, time.monotonic() - started, process.stdout + process.stderr)


def try_mutation(mutation: Mutation, folders: queue.Queue[pathlib.Path]) -> Outcome:
    """Apply a mutation in a free copy, run its tests and undo it."""
    folder = folders.get()
    path = folder / "darknet_py" / mutation.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        return run_tests(folder, mutation.tests.split())
    finally:
        path.write_text(text, encoding="utf-8")
        folders.put(folder)


def main() -> int:
    """Apply the mutations and return 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="*", help="only mutations of these features")
    parser.add_argument("--jobs", type=int, default=2, help="mutations that are tried at once")
    args = parser.parse_args()
    table = read_table()
    unknown = set(args.features) - {mutation.feature for mutation in table}
    if unknown:
        parser.error(f"unknown features: {', '.join(sorted(unknown))}")
    mutations = [mutation for mutation in table if not args.features or mutation.feature in args.features]
    stale = [text for text in map(problem, mutations) if text]
    for text in stale:
        print(f"stale: {text}", flush=True)
    mutations = [mutation for mutation in mutations if not problem(mutation)]
    with tempfile.TemporaryDirectory() as scratch:
        folders: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(args.jobs):
            copy_checkout(pathlib.Path(scratch, f"{number}", "checkout"))
            folders.put(pathlib.Path(scratch, f"{number}", "checkout"))
        every = sorted({word for mutation in mutations for word in mutation.tests.split()})
        baseline = run_tests(pathlib.Path(scratch, "0", "checkout"), every)
        if baseline.word != "SURVIVED":
            print(baseline.output, "the tests must pass before the code is broken", sep="\n")
            return 1
        failures = len(stale)
        with ThreadPoolExecutor(args.jobs) as pool:
            outcomes = pool.map(lambda mutation: try_mutation(mutation, folders), mutations)
            for mutation, outcome in zip(mutations, outcomes, strict=True):
                failures += outcome.word != "killed"
                change = f"{mutation.file}: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"
                print(f"{outcome.word:9} {outcome.seconds:5.1f} s  {mutation.feature:16} {change}", flush=True)
                if outcome.word not in ("killed", "SURVIVED"):
                    print(outcome.output[-3000:])
    count = len(mutations) + len(stale)
    print(f"{count - failures} of {count} killed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
