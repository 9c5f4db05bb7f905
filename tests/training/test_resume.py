from __future__ import annotations

import pathlib
import random
import signal
import time
from typing import Any

import pytest
import torch

from darknet_py.training import checkpoints
from darknet_py.training.callbacks import StepEvent
from tests.helpers import synthetic_data, training_runs

MEMORY: dict[str, Any] = {"ema_alpha": 0.9, "adversarial_lr": 0.1, "policy": "random", "burn_in": 2}


def assert_same(one: pathlib.Path, other: pathlib.Path) -> None:
    first, second = training_runs.tensors(one), training_runs.tensors(other)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("more", [{}, MEMORY], ids=["momentum", "all that has a memory"])
def test_an_interrupted_run_ends_with_the_same_weights(
    more: dict[str, Any], tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=12, **more)
    cfg.write_text(cfg.read_text().replace("[yolo]", "[dropout]\nprobability=.2\n[yolo]"))
    data = rectangles / "tiny.data"
    steps: dict[str, Any] = {"map_every": 4, "validate": True}
    training_runs.run(cfg, data, output=tmp_path / "one", save_last=5, **steps)
    text = cfg.read_text()

    def press(event: StepEvent) -> None:
        if event.iteration == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        training_runs.run(
            cfg, data, output=tmp_path / "two", save_last=5, **steps, callbacks=training_runs.at_each_step(press)
        )
    state = tmp_path / "two" / "tiny_last.state.pt"
    assert checkpoints.read_state(state).iteration == 7
    assert checkpoints.read_state(state).cfg == text
    training_runs.run(cfg, data, output=tmp_path / "two", resume=state, seed=99, **steps)
    assert_same(tmp_path / "one" / "tiny_last.state.pt", state)
    logs = [(tmp_path / part / "tiny_log.csv").read_text().splitlines() for part in ("one", "two")]
    timeless = [[[cell for at, cell in enumerate(row.split(",")) if at not in (4, 6)] for row in log] for log in logs]
    assert timeless[0] == timeless[1]


def test_ctrl_c_saves_the_state_and_resume_continues(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=100000)
    words = (rectangles / "tiny.data", cfg, "--output", tmp_path, "--workers", "1", "--no-map", "--chart", "")
    process = training_runs.begin(*words)
    training_runs.wait_for(tmp_path / "tiny_log.csv")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "starting from initial weights" in err
    assert "stopping after this iteration" in err
    assert "continue with --resume" in err
    iteration = checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration
    cfg.write_text(cfg.read_text().replace("max_batches=100000", f"max_batches={iteration + 1}"))
    out, err = training_runs.command(*words, "--resume")
    assert "resuming from" in err
    assert out.startswith(f"done: iteration {iteration + 1},")
    rows = (tmp_path / "tiny_log.csv").read_text().splitlines()
    assert len(rows) == iteration + 2


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=150, **MEMORY)
    words: tuple[Any, ...] = (rectangles / "tiny.data", cfg, "--workers", "2", "--chart", "", "--save-last", "7")
    words = (*words, "--map-every", "50", "--deterministic", "--seed", "5")
    started = time.monotonic()
    training_runs.command(*words, "--output", tmp_path / "whole")
    length = time.monotonic() - started
    kills, killed = random.Random(time.time_ns()), 0
    parts = ("--output", tmp_path / "parts", "--resume")
    for _ in range(2):
        process = training_runs.begin(*words, *parts)
        training_runs.wait_for(tmp_path / "parts" / "tiny_last.state.pt")
        time.sleep(kills.uniform(0, length / 4))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    out, err = training_runs.command(*words, *parts)
    assert killed, "it was done before it could be killed"
    assert "resuming from" in err
    assert out.startswith("done: iteration 150,")
    assert_same(*(tmp_path / part / "tiny_last.state.pt" for part in ("whole", "parts")))
    for name in ("final", "best", "last", "ema"):
        one, other = (tmp_path / part / f"tiny_{name}.weights" for part in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name


def test_weights_without_a_state_are_a_warm_start(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=3)
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "out")
    cfg.write_text(cfg.read_text().replace("max_batches=3", "max_batches=5"))
    last = tmp_path / "out" / "tiny_last.weights"
    data, flags = rectangles / "tiny.data", ("--no-map", "--chart", "", "--output", tmp_path / "new")
    _, err = training_runs.command(data, cfg, last, *flags)
    assert "tiny_last.state.pt at iteration 3" in err
    out, err = training_runs.command(data, cfg, tmp_path / "out" / "tiny_final.weights", *flags)
    assert "warm start at iteration 3, momentum starts at 0" in err
    assert out.startswith("done: iteration 5")
    _, err = training_runs.command(data, cfg, last, "--clear", *flags)
    assert "warm start" not in err
    assert "\n1: " in err
