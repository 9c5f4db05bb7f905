"""A process of several is killed: the others end, or torchrun restarts all of them and the run resumes."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch

from tests.helpers import synthetic_data, training_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")


def children(process: int) -> dict[int, int]:
    """The processes that torchrun has started, by rank."""
    ranks = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            rank = re.search(r"\0RANK=(\d+)\0", (folder / "environ").read_text(errors="replace"))
        except (OSError, ValueError):
            continue
        if parent == process and rank is not None:
            ranks[int(rank[1])] = int(folder.name)
    return ranks


def kill_a_rank(words: Sequence[str | os.PathLike[str]], state: pathlib.Path, *flags: str) -> tuple[int, str]:
    """Kill rank 1 with SIGKILL as soon as the run has a state; the exit status and stderr of torchrun."""
    launcher = (*training_runs.PROCESSES, "--monitor-interval=0.1", *flags)
    process = training_runs.begin(*words, launcher=launcher)
    training_runs.wait_for(state)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    try:
        _, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        for child in (*children(process.pid).values(), process.pid):
            os.kill(child, signal.SIGKILL)
        raise
    return process.returncode, err


@pytest.mark.slow
def test_a_killed_process_is_restarted_and_the_run_resumes(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=60, norm=0, learning_rate=0.0003)
    words: tuple[str | os.PathLike[str], ...] = (rectangles / "tiny.data", cfg, "--workers", "1", "--device", "cpu")
    words = (*words, "--no-map", "--chart", "", "--save-last", "5", "--clear", "--output")
    training_runs.command(*words, tmp_path / "whole", launcher=training_runs.PROCESSES)
    state = tmp_path / "killed" / "tiny_last.state.pt"
    status, err = kill_a_rank((*words, tmp_path / "killed"), state, "--max-restarts=1")
    assert status == 0, err
    assert err.count("resuming from") == 1
    for name, tensor in training_runs.tensors(tmp_path / "whole" / "tiny_last.state.pt").items():
        assert torch.equal(tensor, training_runs.tensors(state)[name]), name


@pytest.mark.slow
def test_without_restarts_a_killed_process_ends_the_run(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=20000, norm=0, learning_rate=0.0003)
    words = (rectangles / "tiny.data", cfg, "--workers", "1", "--device", "cpu", "--no-map", "--chart", "")
    state = tmp_path / "tiny_last.state.pt"
    status, err = kill_a_rank((*words, "--save-last", "5", "--output", tmp_path), state)
    assert status == 1
    assert "process 0 of 2: another process has ended or cannot be reached" in err
    assert "darknet_py/training" not in err  # no traceback of this package
    assert "resuming from" not in err
    assert training_runs.tensors(state)
