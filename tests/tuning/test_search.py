"""``evolve``: trials, the best of them again, resuming, NaN, signals, several processes, and errors."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import darknet_py as dk
from darknet_py import cfg as cfg_
from darknet_py.training.callbacks import StepEvent
from darknet_py.training.resume import build_network
from darknet_py.training.validation import Metric
from darknet_py.tuning import search, trial_run
from tests.helpers import synthetic_data, training_runs
from tests.helpers.searches import cfg, run

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A .data file of few images."""
    return synthetic_data.data(tmp_path_factory.mktemp("data"), train=4, valid=4)


def values(result: dk.SearchResult) -> list[dict[str, Any]]:
    return [dict(trial.values) for trial in result.trials]


def test_the_best_cfg_gives_its_score_again_and_a_search_in_parts_is_that_in_one(
    tmp_path: pathlib.Path, data: pathlib.Path
) -> None:
    cfg(tmp_path)
    sentences: list[str] = []
    first = run(tmp_path, data, 2, report=sentences.append)
    again = run(tmp_path, data, 4, report=sentences.append)
    whole = run(tmp_path, data, 4, "whole")
    assert [trial.number for trial in again.trials] == [0, 1, 2, 3]
    assert values(again) == values(whole)
    assert [trial.score for trial in again.trials] == [trial.score for trial in whole.trials]
    assert values(first) == values(again)[:2]
    assert values(first)[0] == {"net.learning_rate": 0.01, "net.momentum": 0.9, "head.iou_loss": "ciou"}
    assert len({tuple(one.items()) for one in values(again)}) == 4
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        f"trial {n} of {2 if n < 2 else 4}" for n in range(4)
    ]
    best = again.best
    assert best is not None
    assert best.score == max(trial.score or 0.0 for trial in again.trials)

    out = tmp_path / "out"
    text = (out / "best.cfg").read_text()
    original = (tmp_path / "tiny.cfg").read_text().splitlines()
    assert len(text.splitlines()) == len(original)
    changed = [line for line in text.splitlines() if line not in original]
    assert all(line.partition("=")[0] in ("learning_rate", "momentum", "iou_loss") for line in changed)
    assert text.startswith("# A small detector.\n")
    assert "# usual" in text
    _, result = training_runs.train(
        out / "best.cfg", data, seed=5, output=tmp_path / "repeated", validate=True, map_every=2
    )
    assert result.best == best.score
    assert (tmp_path / "repeated" / "best_best.weights").read_bytes() == (out / "best.weights").read_bytes()
    assert not list((out / "trials").rglob("*.weights"))
    assert sorted(path.name for path in (out / "trials" / "0003").iterdir() if path.suffix != ".lock") == [
        "tiny.cfg",
        "tiny.names",
        "tiny_args.json",
        "tiny_log.csv",
    ]
    rows = (out / "trials.csv").read_text().splitlines()
    assert rows[0] == "trial,state,score,seconds,net.learning_rate,net.momentum,head.iou_loss,error"
    assert len(rows) == 5
    assert (out / "history.png").stat().st_size > 1000


def test_a_trial_is_the_training_of_its_cfg(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    cfg(tmp_path)
    result = run(tmp_path, data, 1, iterations=2, keep_weights=True)
    folder = tmp_path / "out" / "trials" / "0000"
    config = cfg_.load(folder / "tiny.cfg")
    assert build_network(config).options.max_batches == 2
    _, expected = training_runs.train(
        folder / "tiny.cfg", data, seed=5, output=tmp_path / "b", validate=True, map_every=2
    )
    assert result.trials[0].score == expected.best
    for name in ("best", "final", "last"):
        assert (folder / f"tiny_{name}.weights").read_bytes() == (tmp_path / "b" / f"tiny_{name}.weights").read_bytes()
    assert result.importances == {}


@pytest.mark.parametrize(
    "sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cmaes", "random"))]
)
def test_samplers_choose_values_by_the_seed(
    sampler: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg(tmp_path)
    scores = iter(range(1, 100))
    monkeypatch.setattr(search, "run_trial", lambda task, trial, place: trial_run.Outcome(next(scores) / 100))
    monkeypatch.setattr(search, "create_metric", lambda *_: Metric("mAP", lambda: 0.0))
    journal = {"storage": str(tmp_path / "study.journal"), "sampler": sampler}
    parts = [run(tmp_path, pathlib.Path("none"), n, **journal, study="a") for n in (9, 14)][1]
    scores = iter(range(1, 100))
    whole, other = (
        run(tmp_path, pathlib.Path("none"), 14, f"out{seed}", **journal, study=str(seed), sampler_seed=seed)
        for seed in (0, 1)
    )
    assert values(parts) == values(whole)
    assert values(other)[0] == values(whole)[0]
    assert values(other)[1:] != values(whole)[1:]
    assert all(0.5 <= one["net.momentum"] <= 0.95 for one in values(whole))
    assert sum(whole.importances.values()) == pytest.approx(1)


def test_nan_is_the_worst_score_and_the_search_goes_on(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    cfg(tmp_path, learning_rate=1e30)
    (tmp_path / "space.toml").write_text("[net]\nlearning_rate = { choices = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06] }\n")
    result = run(tmp_path, data, 2, sampler="random")
    first, second = result.trials
    assert (first.state, first.score) == ("complete", 0.0)
    assert "NaN or Inf" in first.error
    assert not second.error
    assert "trial" in result.format()[0]


def at_each_step(monkeypatch: pytest.MonkeyPatch, call: Callable[[int, int], object]) -> None:
    """Call a function with the numbers of the trial and of each iteration."""
    step = trial_run.ScoreReporter.on_step

    def on_step(self: trial_run.ScoreReporter, event: StepEvent) -> None:
        step(self, event)
        call(self._trial.number, event.iteration)

    monkeypatch.setattr(trial_run.ScoreReporter, "on_step", on_step)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_trial_that_a_signal_ends_continues(
    tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg(tmp_path)
    sentences: list[str] = []
    steps: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        at_each_step(patch, lambda *place: os.kill(os.getpid(), signal.SIGTERM) if place == (1, 3) else None)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, data, 2, report=sentences.append)
    assert sentences[-1] == "trial 1 was interrupted: the same command continues it"
    with monkeypatch.context() as patch:
        at_each_step(patch, lambda *place: steps.append(place))
        result = run(tmp_path, data, 2)
    assert steps == [(2, 4)]
    whole = run(tmp_path, data, 2, "whole")
    assert [trial.number for trial in result.trials] == [0, 2]
    assert values(result) == values(whole)
    assert [trial.score for trial in result.trials] == [trial.score for trial in whole.trials]
    logs = [(tmp_path / path / "tiny_log.csv").read_text() for path in ("out/trials/0002", "whole/trials/0001")]
    assert [line.split(",")[:2] for line in logs[0].split()] == [line.split(",")[:2] for line in logs[1].split()]
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}")
    assert [sorted(study.trials[number].intermediate_values) for number in (1, 2)] == [[2], [2, 4]]
    study._storage.remove_session()
    study._storage._backend.engine.dispose()


def test_a_trial_that_is_worse_than_the_median_is_pruned() -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(1))
    study.add_trial(optuna.create_trial(value=0.5, intermediate_values={2: 0.3, 4: 0.5}))
    good, bad = (trial_run.ScoreReporter(study.ask()) for _ in range(2))
    start: Any = type("Start", (), {"max_batches": 4, "iteration": 0})
    for reporter, score in ((good, 0.4), (bad, 0.2)):
        reporter.on_start(start)
        if reporter is good:
            reporter.on_evaluation(evaluation(2, score))
        else:
            with pytest.raises(dk.StopTraining, match="pruned"):
                reporter.on_evaluation(evaluation(2, score))
    good.on_evaluation(evaluation(4, 0.1))  # the last one
    assert (good.is_pruned, bad.is_pruned) == (False, True)


def evaluation(iteration: int, score: float) -> Any:
    from darknet_py.training.callbacks import EvaluationEvent

    return EvaluationEvent(iteration, "mAP", score, score, True)
