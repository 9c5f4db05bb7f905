"""``run_trial``: train the cfg with the values of a trial, and report its scores while it trains."""

from __future__ import annotations

import glob
import pathlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import cfg as cfg_
from ..cfg import Config
from ..cfg.editing import replace_values
from ..errors import DataError
from ..training.batches import Data
from ..training.callbacks import Callback, EvaluationEvent, StartEvent, StepEvent, StopTraining
from ..training.checkpoints import CheckpointWriter, state_path
from ..training.nan_check import NonFiniteError
from ..training.options import TrainOptions
from ..training.resume import build_network, run_name
from ..training.trainer import Trainer
from .space import Space

if TYPE_CHECKING:
    from optuna import Trial
    from tqdm import tqdm

_WORST = 0.0


@dataclass(frozen=True)
class Task:
    """What the trials of a search have in common.

    Attributes:
        config: The cfg with its text, without the values of a trial.
        space: What is searched.
        data: What the trials train on.
        options: How; ``output`` and ``resume`` are set for each trial.
        building: Further arguments of ``build_network``.
        progress: Whether to show a progress bar.
    """

    config: Config
    space: Space
    data: Data
    options: TrainOptions
    building: dict[str, Any]
    progress: bool = False

    @property
    def stem(self) -> str:
        """Stem of the files of a trial."""
        return run_name(self.config.path, self.options)


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
        score: Best score, in 0..1.
        is_pruned: Whether it was stopped because others were better.
        error: Why training was stopped before a score: NaN; empty otherwise.
    """

    score: float
    is_pruned: bool = False
    error: str = ""


class ScoreReporter(Callback):
    """Reports each score to Optuna, and stops the training if others were better.

    Args:
        trial: Optuna's trial.
        progress: Whether to show a progress bar.
    """

    def __init__(self, trial: Trial, *, progress: bool = False) -> None:
        self.is_pruned = False
        self._trial = trial
        self._progress = progress
        self._scores: list[tuple[int, float]] = []
        self._max_batches = 0
        self._bar: tqdm[Any] | None = None

    def on_start(self, event: StartEvent) -> None:
        """Show the bar."""
        from tqdm import tqdm

        self._max_batches = event.max_batches
        self._bar = tqdm(
            total=event.max_batches,
            initial=event.iteration,
            desc=f"trial {self._trial.number}",
            unit=" iterations",
            leave=False,
            disable=None if self._progress else True,
        )

    def on_step(self, event: StepEvent) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Report the score. A training that is complete is not stopped."""
        self._scores.append((event.iteration, event.score))
        self._trial.report(event.score, event.iteration)
        if event.iteration < self._max_batches and self._trial.should_prune():
            self.is_pruned = True
            raise StopTraining("pruned")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def state_dict(self) -> dict[str, Any]:
        """The scores so far."""
        return {"scores": [list(score) for score in self._scores]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Report the scores of the first part of the trial."""
        for iteration, score in state["scores"]:
            self._scores.append((iteration, score))
            self._trial.report(score, iteration)


def run_trial(task: Task, trial: Trial, folder: pathlib.Path) -> Outcome:
    """Train with the values of a trial; a training that was interrupted continues.

    Args:
        task: What the trials have in common.
        trial: Optuna's trial, whose values have been chosen.
        folder: Where its files are written.

    Returns:
        How it ended. A training that was stopped because of NaN has the worst score.

    Raises:
        DarknetError: The cfg or the data are invalid.
        KeyboardInterrupt: A signal has ended it; its state is saved.
    """
    text = replace_values(task.config, task.space.edits(trial.params))
    config = replace(cfg_.loads(text, task.config.path), allow_paths=task.config.allow_paths)
    network = build_network(config, seed=task.options.seed, **task.building)
    state = state_path(CheckpointWriter.weights_path(folder, task.stem, "last"))
    options = replace(task.options, output=folder, resume=state if state.exists() else False)
    reporter = ScoreReporter(trial, progress=task.progress)
    try:
        result = Trainer(network, task.data, options, [reporter], clear=True).run()
    except NonFiniteError as error:
        return Outcome(_WORST, error=str(error))
    finally:
        reporter.close()
    if result.best is None:
        raise DataError("no score to search by: expected a data set with images for validation (valid=)")
    return Outcome(result.best, reporter.is_pruned)


def remove_weights(folder: pathlib.Path, stem: str) -> None:
    """Delete the weights and states of a trial."""
    for suffix in (".weights", ".state.pt", ".state.pt.bak"):
        for path in folder.glob(f"{glob.escape(stem)}_*{suffix}"):
            path.unlink(missing_ok=True)


def trial_files(folder: pathlib.Path, stem: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The cfg of a trial, as trained, and its best weights."""
    return folder / f"{stem}.cfg", CheckpointWriter.weights_path(folder, stem, "best")
