"""What a callback gives or does wrongly neither changes a run nor makes its state useless."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from darknet_py.errors import ConfigError, DarknetError
from darknet_py.training import checkpoints
from darknet_py.training.callbacks import Callback, CheckpointEvent, EndEvent, StartEvent, StopTraining
from tests.helpers import synthetic_data, training_runs


class AtCheckpoint(Callback):
    """Raises an error when a file of weights has been written."""

    def __init__(self) -> None:
        self.status = ""

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        raise ValueError("x")

    def on_end(self, event: EndEvent) -> None:
        self.status = event.status


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], "expected a dict, found list"),
        ({(1, 2): 3}, "expected text as keys, found tuple"),
    ],
)
def test_a_state_that_could_not_be_resumed_is_not_written(
    state: Any, message: str, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return state  # type: ignore[no-any-return]

    cfg = synthetic_data.cfg(tmp_path, max_batches=4)
    data = rectangles / "tiny.data"
    with pytest.raises(DarknetError, match=f"callback Odd.state_dict: TypeError: {message}"):
        training_runs.run(cfg, data, output=tmp_path, save_last=2, callbacks=[Odd()])
    _, result = training_runs.train(cfg, data, output=tmp_path, resume=True)
    assert result.iteration == 4


def test_an_error_when_the_last_state_is_written_is_a_failed_run(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    broken = AtCheckpoint()
    with pytest.raises(DarknetError, match=r"callback AtCheckpoint\.on_checkpoint: ValueError: x"):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, callbacks=[broken])
    assert broken.status == "failed"
    assert (tmp_path / "tiny_final.weights").is_file()


def test_what_a_callback_changes_or_says_at_the_end_does_not_change_the_run(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    class Late(Callback):
        def on_start(self, event: StartEvent) -> None:
            recipe: Any = event.recipe
            recipe["options"] = object()

        def on_end(self, event: EndEvent) -> None:
            raise StopTraining("late")

    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    _, result = training_runs.train(cfg, rectangles / "tiny.data", output=tmp_path, callbacks=[Late()])
    assert (result.stopped_early, result.stop_reason) == (False, "")
    assert "options" not in checkpoints.read_state(tmp_path / "tiny_last.state.pt").recipe


@pytest.mark.parametrize(
    ("given", "found"), [(AtCheckpoint, "the class AtCheckpoint"), (print, "builtin_function_or_method")]
)
def test_what_is_no_callback_is_refused(given: Any, found: str, tmp_path: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    with pytest.raises(ConfigError, match=f"callbacks: expected instances of Callback, got {found}$"):
        training_runs.run(cfg, None, output=tmp_path, callbacks=[given])
