"""The fuzzer finds a planted fault, a hang and a crash, goes on after them, and repeats a case."""

from __future__ import annotations

import os
import pathlib
import random
import time
from collections.abc import Callable, Sequence

import pytest

from tools.fuzz import __main__ as command
from tools.fuzz import mutations, targets, worker
from tools.fuzz.targets import base, datasets

SEED = 158  # draws 0, 5, 2, 3, 4


class Faulty(datasets.Names):
    """Reads files of which some are a fault of each kind."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """One file."""
        return [base.write_text(self.folder / "seed.names", "a")]

    def generate(self, rng: random.Random) -> pathlib.Path:
        """A file that holds one of six digits."""
        return base.write_text(self.folder / "fuzzed.names", str(rng.randrange(6)))

    def read(self, path: pathlib.Path) -> None:
        """0 raises, 2 crashes, 4 hangs."""
        match path.read_text():
            case "0":
                raise KeyError("planted")
            case "4":
                time.sleep(60)
            case "2":
                os.abort()


def serve(*args: object) -> None:
    targets.TARGETS["faulty"] = Faulty
    _serve(*args)  # type: ignore[arg-type]


_serve = worker._serve


def test_every_kind_of_fault_is_found_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setitem(targets.TARGETS, "faulty", Faulty)
    monkeypatch.setattr(worker, "_serve", serve)
    monkeypatch.setattr(worker, "SECONDS", 0.5)
    log = tmp_path / "log.jsonl"
    report = command.fuzz("faulty", SEED, range(5), 60, log=log)
    assert report.counts == {"exception": 1, "hang": 1, "crash": 1, "result": 2}
    assert {fault.place: fault.case for fault in report.faults.values()} == {
        "exception: KeyError in the fuzzer": 0,
        "crash: SIGABRT": 2,
        "hang: more than 0 s": 4,
    }
    assert command._next_case(log, "faulty", SEED) == 5
    assert command._next_case(log, "faulty", 0) == 0


@pytest.mark.parametrize(
    "mutate", [mutations.mutate_bytes, lambda data, rng: mutations.mutate_text(data.decode(), rng)]
)
def test_a_case_depends_on_its_number_only(mutate: Callable[[bytes, random.Random], bytes]) -> None:
    data = b"[net]\nwidth=32\nheight=32\n" * 3
    first, again, other = (mutate(data, random.Random(f"cfg 0 {case}")) for case in (7, 7, 8))
    assert first == again != other


def test_short_run_finds_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    status = command.main(["--seconds", "15", "--seed", "1"])
    assert status == 0, capsys.readouterr().err
