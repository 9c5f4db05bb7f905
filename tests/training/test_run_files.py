"""Files of a run: what an earlier run left is kept until it is replaced, and two runs do not share files."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import pytest

from darknet_py.errors import ConfigError, DataError
from darknet_py.training import checkpoints
from darknet_py.training.checkpoints import lock_files
from tests.helpers import synthetic_data, training_runs


@pytest.fixture
def cfg(tmp_path: pathlib.Path) -> pathlib.Path:
    return synthetic_data.cfg(tmp_path, max_batches=3)


def test_a_new_run_keeps_the_old_state_until_its_first_scheduled_one(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(**options: Any) -> None:
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, **options)

    run()
    state = tmp_path / "tiny_last.state.pt"
    backup = tmp_path / "tiny_last.state.pt.bak"
    old = state.read_bytes()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(
                callbacks=training_runs.at_each_step(lambda _: signal.raise_signal(signal.SIGINT)),
                verbose=True,
            )
        assert checkpoints.read_state(state).iteration == 1
        assert backup.read_bytes() == old
        printed = capsys.readouterr().err
        assert f"{backup} is the state of an earlier run until this one writes its own" in printed
    run(resume=True, save_last=2)
    assert not backup.exists()
    assert checkpoints.read_state(state).iteration == 3


def test_a_second_training_of_the_same_files_is_refused(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    with lock_files(tmp_path, "tiny"):
        with pytest.raises(DataError, match=r"another training writes tiny_\*"):
            training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path)
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, name="other")
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".lock")]


def test_final_weights_that_a_kill_prevented_are_written_on_resuming(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path)
    final = tmp_path / "tiny_final.weights"
    weights = final.read_bytes()
    final.unlink()
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, resume=True, seed=5)
    assert final.read_bytes() == weights
    with pytest.raises(ConfigError, match="nothing is left to train"):
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, resume=True)
