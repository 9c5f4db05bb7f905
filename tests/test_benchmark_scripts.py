"""The scripts of benchmarks/ that train run from their command line; with few iterations, their numbers say nothing."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from benchmarks.hide_avx512 import without_avx512
from darknet_py.demo.digits import write_dataset
from tests.helpers.paths import CFGS, ROOT

XGETBV = b"\x0f\x01\xd0"
DIGITS = CFGS / "digits.cfg", CFGS / "digits.weights"


def run(module: str, *arguments: object) -> list[str]:
    """Run a script; return the rows of its table as they are printed."""
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("|")][2:]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_dataset(tmp_path_factory.mktemp("digits"), train=16, valid=8)


def test_avx512_is_hidden_where_the_processor_is_asked_for_it() -> None:
    asks = b"\xb9\x00\x00\x00\x00" + XGETBV
    content = XGETBV + bytes(30) + asks + bytes(30) + b"\x31\xc9\x90" + XGETBV + bytes(30) + XGETBV
    changed, count = without_avx512(content)
    assert count == 2
    assert len(changed) == len(content)
    assert changed == content.replace(asks, asks[:5] + b"\x6a\x07\x58").replace(b"\x90" + XGETBV, b"\x90\x6a\x07\x58")


@pytest.mark.slow
def test_slimming(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = ["--seeds", 4, 5, "--iterations", 2, "--fine-tune", 2, "--set", "burn_in=0", "-o", tmp_path / "out"]
    rows = run("slimming", data, *DIGITS, *options)
    assert [row.split("|")[1].strip() for row in rows] == ["4", "5"]


@pytest.mark.slow
def test_the_curve_of_pruning(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = ["--ratios", 0.5, "--fine-tune", 2, "--set", "burn_in=0", "-o", tmp_path / "out"]
    rows = [row.split("|") for row in run("pruning_curve", data, *DIGITS, *options)]
    assert [row[1].strip() for row in rows] == ["0", "0.5"]
    assert float(rows[1][2]) < float(rows[0][2])  # operations
    assert (tmp_path / "out" / "curve.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_iterations_of_a_training() -> None:
    rows = run("training_steps", "digits.cfg:2", "csp/partial.cfg:2", "--repeats", 1)
    assert [len(row.split("|")) for row in rows] == [8, 8]
