"""``SharedStudy``: the trials of a search in a database or a file, which several processes work on.

A trial is owned by the process that locks its folder. A trial whose process has been killed, so that nobody locks its
folder, is closed and started again by the next process on the same machine; so is one that was interrupted.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from .. import locks
from .._typing import StrPath
from ..errors import ConfigError, DarknetError, list_first
from ..files import OutputError, create_folder
from ..messages import quiet_loggers
from .space import Parameter, Space, Value
from .storage import open_storage, without_password

_SETTINGS = "darknet_py"  # attribute of a study: what its trials have in common
_FOLDER, _HOST, _CONTINUES = "folder", "host", "continues"  # attributes of trials
_VOID = "void:"  # attributes of a study, with the number of a trial that does not count, and why
_STARTUP_TRIALS = 5  # that are never pruned
_SETTINGS_SECONDS = 30.0  # that a process waits for another that creates the study
_DIFFERENCES = 4  # that a message names


class SharedStudy:
    """The trials of a search.

    Args:
        study: Optuna's study.
        space: What is searched.
        total: Number of trials after which the search ends.
        folder: Folder of the trials' folders.
    """

    def __init__(self, study: optuna.Study, space: Space, total: int, folder: pathlib.Path) -> None:
        self._study = study
        self._space = space
        self._total = total
        self._folder = folder

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials by number, without those that were interrupted and those that wait."""
        trials = self._study.get_trials(deepcopy=False)
        void = self._study.user_attrs
        return [one for one in trials if one.state != TrialState.WAITING and f"{_VOID}{one.number}" not in void]

    @property
    def best(self) -> FrozenTrial | None:
        """The finished trial with the best score; the first of equal ones."""
        finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return max(finished, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    @property
    def is_complete(self) -> bool:
        """Whether all trials have begun."""
        return len(self.trials) >= self._total

    def other_place(self, trial: FrozenTrial | None) -> str:
        """Machine and folder of a trial that was not trained in this folder; empty if it was."""
        if trial is None or (self._folder / f"{trial.number:04}").is_dir():
            return ""
        return f"{trial.user_attrs.get(_HOST)}:{trial.user_attrs.get(_FOLDER)}"

    def importances(self) -> dict[str, float]:
        """Share of each parameter in the differences between scores (PED-ANOVA); empty if there are too few trials."""
        scores = {trial.value for trial in self.trials if trial.state == TrialState.COMPLETE}
        if len(scores) < 2:
            return {}
        return dict(optuna.importance.get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator()))

    def recover(self) -> Iterator[str]:
        """Close the trials of killed processes of this machine, so that they start again. Yields a sentence for each.

        Raises:
            DarknetError: The storage fails.
        """
        for trial in self._running():
            folder = trial.user_attrs.get(_FOLDER)
            if folder is None or trial.user_attrs.get(_HOST) != socket.gethostname():
                continue
            held = locks.hold(folder, certain=True)
            if held is None:
                continue
            try:
                if any(other.number == trial.number for other in self._running()):
                    self._restart_later(trial.number, trial.params)
                    yield f"trial {trial.number} was interrupted and starts again"
            finally:
                locks.release(held)

    @contextmanager
    def next_trial(self) -> Iterator[tuple[optuna.Trial, pathlib.Path] | None]:
        """Begin a trial: its values are chosen, and its folder is locked inside the block. None if all have begun.

        If the block raises KeyboardInterrupt, the trial starts again later, with the files that it has written; after
        any other exception it has failed.

        Raises:
            DataError: The folder exists already, or cannot be created.
        """
        trial = self._study.ask()
        held = None
        try:
            for parameter in self._space.parameters:
                _suggest(trial, parameter)
            if any(trial.number == other.number for other in self.trials[: self._total]):
                folder = self._move_folder(trial)
                held = locks.hold(folder)
                trial.set_user_attr(_HOST, socket.gethostname())
                trial.set_user_attr(_FOLDER, str(folder.resolve()))
                yield trial, folder
            else:
                self._close(trial.number, "other processes had begun the last ones")
                yield None
        except KeyboardInterrupt:
            self._restart_later(trial.number, trial.params)
            raise
        except Exception as error:
            if isinstance(error, OutputError):
                self._close(trial.number, str(error))
            self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        finally:
            if held is not None:
                locks.release(held)

    def finish(self, trial: optuna.Trial, score: float | None, *, is_pruned: bool = False) -> None:
        """Store the result of a trial; ``score`` None: it has failed."""
        if is_pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif score is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, score)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until no other process holds the folder of the search, and hold it inside the block."""
        while (held := locks.hold(self._folder)) is None:
            time.sleep(0.05)
        try:
            yield
        finally:
            locks.release(held)

    def _running(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    def _move_folder(self, trial: optuna.Trial) -> pathlib.Path:
        """Create the folder of a trial, or rename that of its first part."""
        folder = self._folder / f"{trial.number:04}"
        if folder.exists():
            raise OutputError(
                f"{folder}: written by another search: expected another folder for this one (--output), or none there"
            )
        previous = trial.user_attrs.get(_CONTINUES)
        if previous is not None and (self._folder / f"{previous:04}").is_dir():
            (self._folder / f"{previous:04}").rename(folder)
        return create_folder(folder)

    def _restart_later(self, number: int, params: Mapping[str, Any]) -> None:
        """Close a trial that was interrupted; the next one has its values, and its files where they are at hand."""
        self._close(number, "interrupted")
        self._study.enqueue_trial(dict(params), user_attrs={_CONTINUES: number})

    def _close(self, number: int, reason: str) -> None:
        """End a trial that does not count."""
        self._study.set_user_attr(f"{_VOID}{number}", reason)
        self._study.tell(number, state=TrialState.FAIL)


@contextmanager
def open_study(
    storage: str | None,
    name: str,
    folder: StrPath,
    space: Space,
    *,
    settings: Mapping[str, Any],
    sampler: optuna.samplers.BaseSampler,
    prune: bool,
    total: int,
) -> Iterator[SharedStudy]:
    """Open the study of a search, or create it with the cfg's own values as its first trial.

    Args:
        storage: URL of a database, or path of a journal file; None: study.db, for SQLite, in ``folder``.
        name: Name of the study in the storage.
        folder: Folder of the search.
        space: What is searched.
        settings: What the trials of the study have in common, as plain values.
        sampler: Chooses the values of a trial.
        prune: Stop a trial whose score is below the median of the others at the same iteration.
        total: Number of trials after which the search ends.

    Raises:
        ConfigError: The study has other settings.
        DarknetError: The storage cannot be used.
    """
    import sqlalchemy.exc

    pruner = optuna.pruners.MedianPruner(_STARTUP_TRIALS) if prune else optuna.pruners.NopPruner()
    place = pathlib.Path(folder) / "trials"
    location = storage or os.path.join(folder, "study.db")
    plain = json.loads(json.dumps({**settings, "space": {one.name: one.describe() for one in space.parameters}}))
    with quiet_loggers("optuna"):
        backend: optuna.storages.RDBStorage | optuna.storages.JournalStorage | None = None
        try:
            backend = open_storage(storage, folder)
            study = _create_or_load(backend, name, plain, space, sampler, pruner, without_password(location))
            yield SharedStudy(study, space, total, create_folder(place))
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
            reason = error.__cause__ or error
            cause = str(reason).partition("\n")[0]
            if isinstance(reason, ModuleNotFoundError):
                cause += ": install the driver of this database (PostgreSQL: pip install 'psycopg[binary]')"
            raise DarknetError(f"{without_password(location)}: {cause}") from error
        finally:
            if isinstance(backend, optuna.storages.RDBStorage):
                backend.remove_session()
                backend.engine.dispose()


def _create_or_load(
    storage: optuna.storages.BaseStorage,
    name: str,
    settings: Mapping[str, Any],
    space: Space,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    location: str,
) -> optuna.Study:
    shared: dict[str, Any] = {"study_name": name, "storage": storage, "sampler": sampler, "pruner": pruner}
    try:
        study = optuna.create_study(**shared, direction="maximize")
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(**shared)
        end = time.monotonic() + _SETTINGS_SECONDS
        while (held := study.user_attrs.get(_SETTINGS)) is None:
            if time.monotonic() > end:
                raise ConfigError(
                    f"{location}: study {name!r} was not created by this program: expected another name (--study)"
                ) from None
            time.sleep(0.1)
        changes = list(_differences(held, settings))
        if changes:
            raise ConfigError(
                f"{location}: study {name!r} was created with other values: {list_first(changes, _DIFFERENCES)}. "
                "Expected the same, another name (--study) or another folder (--output)"
            ) from None
        return study
    study.enqueue_trial(space.start)
    study.set_user_attr(_SETTINGS, dict(settings))
    return study


def _differences(held: Mapping[str, Any], given: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What differs between the settings of a study and those given, in words."""
    for key in dict.fromkeys((*held, *given)):
        old, new = held.get(key), given.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{where}{key} ")
        elif old != new and key == "cfg":
            yield "the cfg"
        elif old != new:
            yield f"{where}{key} {old} -> {new}"


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Value:
    """Let the sampler choose the value of a parameter."""
    if parameter.choices:
        return trial.suggest_categorical(parameter.name, parameter.choices)
    if isinstance(parameter.start, int):
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)
