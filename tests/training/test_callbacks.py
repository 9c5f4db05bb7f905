"""Events of a run, in order and with what they carry; how callbacks stop a run, fail, and are resumed."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from darknet_py.errors import ConfigError, DarknetError
from darknet_py.training import checkpoints
from darknet_py.training.callbacks import (
    Callback,
    CheckpointEvent,
    EndEvent,
    EvaluationEvent,
    StartEvent,
    StepEvent,
    StopTraining,
)
from tests.helpers import synthetic_data, training_runs


class Recorder(Callback):
    """Keeps all events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def _add(self, event: Any) -> None:
        self.events.append(event)

    on_start = on_step = on_evaluation = on_checkpoint = on_end = _add

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Counter(Callback):
    """Counts iterations, over all parts of a run."""

    def __init__(self) -> None:
        self.count = 0

    def on_step(self, event: StepEvent) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "seen": [1, 2.5, "x", None, torch.ones(2)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["seen"][:4] == [1, 2.5, "x", None]
        self.count = state["count"]


class At(Callback):
    """Raises an exception at an event of an iteration."""

    def __init__(self, kind: type[Any], iteration: int, error: Exception) -> None:
        self.kind, self.iteration, self.error = kind, iteration, error
        self.ended: list[EndEvent] = []

    def _raise(self, event: Any) -> None:
        if isinstance(event, self.kind) and event.iteration == self.iteration:
            raise self.error

    on_start = on_step = on_evaluation = on_checkpoint = _raise

    def on_end(self, event: EndEvent) -> None:
        self.ended.append(event)


def test_events_come_in_order_with_their_numbers(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=4, burn_in=1)
    recorder = Recorder()
    data = rectangles / "tiny.data"
    steps: dict[str, Any] = {"validate": True, "map_every": 2, "save_every": 3, "save_last": 3}
    _, result = training_runs.train(cfg, data, output=tmp_path, callbacks=[recorder], **steps)
    kinds = [(type(e).__name__, e.iteration, getattr(e, "kind", "")) for e in recorder.events]
    bests = [event.iteration for event in recorder.of(EvaluationEvent) if event.is_best]
    assert kinds == [
        ("StartEvent", 0, ""),
        ("StepEvent", 1, ""),
        ("StepEvent", 2, ""),
        ("EvaluationEvent", 2, ""),
        ("CheckpointEvent", 2, "best"),
        ("StepEvent", 3, ""),
        ("CheckpointEvent", 3, "numbered"),
        ("CheckpointEvent", 3, "last"),
        ("StepEvent", 4, ""),
        ("EvaluationEvent", 4, ""),
        *([("CheckpointEvent", 4, "best")] if 4 in bests else []),
        ("CheckpointEvent", 4, "last"),
        ("CheckpointEvent", 4, "final"),
        ("EndEvent", 4, ""),
    ]
    (start,) = recorder.of(StartEvent)
    assert (start.name, start.folder, start.max_batches, start.resumed) == ("tiny", tmp_path, 4, False)
    assert (start.score_name, start.recipe["map_every"]) == ("mAP", 2)
    assert [event.evaluation_follows for event in recorder.of(StepEvent)] == [False, True, False, True]
    evaluation = recorder.of(EvaluationEvent)[-1]
    assert (evaluation.name, evaluation.best) == ("mAP", result.best)
    paths = {event.kind: event.weights.name for event in recorder.of(CheckpointEvent)}
    assert paths["numbered"] == "tiny_3.weights"
    assert paths["final"] == result.weights.name
    assert all(event.weights.is_file() for event in recorder.of(CheckpointEvent))
    assert [event.state is not None for event in recorder.of(CheckpointEvent) if event.kind == "last"] == [True, True]
    assert recorder.events[-1] == EndEvent(4, "finished", "", result.loss, result.best)
    with pytest.raises(dataclasses.FrozenInstanceError):
        start.name = "x"


@pytest.mark.parametrize("kind", [StepEvent, CheckpointEvent])
def test_a_callback_stops_a_run_that_can_be_resumed(
    kind: type[Any], tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    data = rectangles / "tiny.data"
    cfg = synthetic_data.cfg(tmp_path, max_batches=6)
    whole = training_runs.run(cfg, data, output=tmp_path / "whole", save_last=2)
    recorder, counter = Recorder(), Counter()
    callbacks = [At(kind, 2, StopTraining("enough")), recorder, counter]
    output = tmp_path / "parts"
    _, result = training_runs.train(cfg, data, output=output, save_last=2, callbacks=callbacks)
    end = 2 if kind is StepEvent else 3  # a checkpoint is written after the decision to go on
    assert (result.stopped_early, result.stop_reason, result.iteration) == (True, "At: enough", end)
    assert recorder.events[-1].status == "stopped"
    assert recorder.events[-1].reason == "At: enough"
    assert (output / "tiny_final.weights").is_file()
    counter = Counter()
    recorder = Recorder()
    resumed, result = training_runs.train(cfg, data, output=output, resume=True, callbacks=[recorder, counter])
    assert (recorder.events[0].resumed, recorder.events[0].iteration) == (True, end)
    assert counter.count == 6
    assert not result.stopped_early
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_stop_at_the_start_trains_and_writes_nothing(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=6)
    callback = At(StartEvent, 0, StopTraining())
    _, result = training_runs.train(cfg, rectangles / "tiny.data", output=tmp_path, callbacks=[callback])
    assert (result.iteration, result.stop_reason) == (0, "At")
    assert not list(tmp_path.glob("*.weights"))


@pytest.mark.parametrize("kind", [StepEvent, EvaluationEvent])
def test_an_error_of_a_callback_names_it_and_the_state_is_saved(
    kind: type[Any], tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    data = rectangles / "tiny.data"
    cfg = synthetic_data.cfg(tmp_path, max_batches=6, burn_in=1)
    steps: dict[str, Any] = {"validate": True, "map_every": 3}
    whole = training_runs.run(cfg, data, output=tmp_path / "whole", **steps)
    broken, counter = At(kind, 3, ZeroDivisionError("division by zero")), Counter()
    method = "on_step" if kind is StepEvent else "on_evaluation"
    message = f"callback At.{method}: ZeroDivisionError: division by zero"
    output = tmp_path / "parts"
    with pytest.raises(DarknetError, match=f"^{re.escape(message)}$") as caught:
        training_runs.run(cfg, data, output=output, callbacks=[broken, counter], **steps)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert counter.count == 3  # the others are still called
    assert [(event.status, event.reason) for event in broken.ended] == [("failed", f"DarknetError: {message}")]
    assert checkpoints.read_state(output / "tiny_last.state.pt").iteration == 3
    assert not (output / "tiny_final.weights").exists()
    resumed = training_runs.run(cfg, data, output=output, resume=True, **steps)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_an_error_at_the_end_keeps_the_final_weights(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    class Broken(Callback):
        def on_end(self, event: EndEvent) -> None:
            raise OSError("no route to host")

    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    with pytest.raises(DarknetError, match=r"callback Broken\.on_end: OSError: no route to host"):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, callbacks=[Broken()])
    assert (tmp_path / "tiny_final.weights").is_file()


def test_a_state_that_no_file_can_hold_is_an_error_and_the_run_is_saved(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"folder": [tmp_path]}

    cfg = synthetic_data.cfg(tmp_path, max_batches=4)
    message = r"callback Odd\.state_dict: TypeError: expected numbers, text, tensors, lists and dicts, found PosixPath"
    with pytest.raises(DarknetError, match=message):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, save_last=2, callbacks=[Odd(), Counter()])
    state = checkpoints.read_state(tmp_path / "tiny_last.state.pt")
    assert state.iteration == 3
    assert state.callbacks["Counter"]["count"] == 3


def test_two_callbacks_of_a_class_have_their_own_states(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    counters = [Counter(), Counter()]
    counters[1].count = 10
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, callbacks=counters)
    states = checkpoints.read_state(tmp_path / "tiny_last.state.pt").callbacks
    assert {name: state["count"] for name, state in states.items()} == {"Counter": 2, "Counter#2": 12}


def test_an_unknown_logger_is_named(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    with pytest.raises(ConfigError, match="log: expected csv, tensorboard, mlflow, wandb, got 'wandv'"):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, log="csv,wandv")


SCRIPT = """
import sys
import darknet_py as dk
from darknet_py.training import resume

class Stop(dk.Callback):
    def on_step(self, event):
        print("step", event.iteration, flush=True)
        if event.iteration == 2:
            raise {error}

cfg, data, output = sys.argv[1:]
options = dk.TrainOptions(output=output, verbose=False, workers=0, chart="", validate=False)
try:
    result = dk.Trainer(resume.build_network(cfg), data, options, [Stop()]).run()
    text = f"{{result.iteration}} {{result.stopped_early}}"
except dk.DarknetError as error:
    text = str(error)
sys.stdout.write(f"ended {{text}}\\n")  # in one piece: both processes write to one pipe
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("dk.StopTraining('x')", ["ended 2 True", "ended 2 True"]),
        pytest.param(
            "KeyError('x')",
            ["ended a callback has failed in the main process", "ended callback Stop.on_step: KeyError: 'x'"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["stop", "error"],
)
def test_the_main_process_ends_all(
    error: str, expected: list[str], tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=5)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(error=error))
    files = (script, cfg, rectangles / "tiny.data", tmp_path)
    line = [sys.executable, *training_runs.PROCESSES, *map(str, files)]
    done = subprocess.run(
        line, env=training_runs.environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = sorted(done.stdout.splitlines())
    assert printed == [*expected, "step 1", "step 2"]
    assert checkpoints.read_state(tmp_path / "tiny_last.state.pt").iteration == 2
