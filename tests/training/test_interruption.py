"""Signals, closed pipes and a full disk end a run with one sentence, and lose no state."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

from darknet_py.errors import DarknetError
from darknet_py.evaluation import evaluator
from darknet_py.training import checkpoints, validation
from darknet_py.training.callbacks import StepEvent
from tests.helpers import synthetic_data, training_runs

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)),
    ],
)
def test_a_signal_saves_the_state(number: signal.Signals, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=100000)
    words = (rectangles / "tiny.data", cfg, "--output", tmp_path, "--workers", "1", "--no-map", "--chart", "")
    before = signal.signal(number, signal.SIG_DFL)  # processes inherit that SIGHUP is ignored, as under nohup
    try:
        process = training_runs.begin(*words)
    finally:
        signal.signal(number, before)
    training_runs.wait_for(tmp_path / "tiny_log.csv")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "continue with --resume" in err
    assert checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration > 0


def test_closed_pipes_end_printing_and_not_training(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=100)
    words = (rectangles / "tiny.data", cfg, "--output", tmp_path, "--workers", "1", "--no-map", "--chart", "")
    process = training_runs.begin(*words)
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.readline()
    process.stderr.close()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration == 100
    assert (tmp_path / "tiny_final.weights").exists()


def test_a_closed_stdout_leaves_the_files_of_detect(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    line = [sys.executable, "-m", "darknet_py", "detect", "digits", str(rectangles), "--json", str(tmp_path / "a.json")]
    environment = training_runs.environment()
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=120) == 1
        assert process.stderr.read() == b""
    assert (tmp_path / "a.json").read_text().endswith("]\n")


def test_a_second_ctrl_c_keeps_the_last_state(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    def press(event: StepEvent) -> None:
        if event.iteration == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    cfg = synthetic_data.cfg(tmp_path, max_batches=9)
    with pytest.raises(KeyboardInterrupt):
        training_runs.run(
            cfg, rectangles / "tiny.data", output=tmp_path, save_last=2, callbacks=training_runs.at_each_step(press)
        )
    assert checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration == 4


def test_a_signal_during_the_evaluation_saves_the_state(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = evaluator.evaluate_detections

    def terminated(*args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return evaluate(*args, **options)

    monkeypatch.setattr(validation, "evaluate_detections", terminated)
    cfg = synthetic_data.cfg(tmp_path, max_batches=9, burn_in=1)
    with pytest.raises(KeyboardInterrupt):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, map_every=3, validate=True)
    state = checkpoints.read_state(tmp_path / "tiny_last.state.pt")
    assert (state.iteration, state.progress.evaluated_at) == (3, 3)


@pytest.mark.parametrize("room", [100, 20_000], ids=["for nothing", "for the log only"])
def test_a_disk_that_becomes_full_leaves_the_last_state(
    room: int, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: StepEvent) -> None:
        if event.iteration == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))

    cfg = synthetic_data.cfg(tmp_path, max_batches=9)
    try:
        with pytest.raises(DarknetError, match=r"tiny_(log\.csv|last\.weights|last\.state\.pt): File too large"):
            training_runs.run(
                cfg, rectangles / "tiny.data", output=tmp_path, save_last=2, callbacks=training_runs.at_each_step(fill)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration == 2
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, resume=True)
