"""``evolve``: search hyperparameters: train a cfg with other values again and again, and keep the best.

study.db          the trials, for SQLite; --storage names another place
trials.csv        values and score of each trial
trials/0003/      what `train` writes: cfg, log; weights only on request
best.cfg          the cfg of the best trial, with its comments
best.weights      its best weights
history.png       the scores, and importance.png: which parameters they depend on
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import cfg as cfg_
from .._typing import StrPath
from ..cfg import Dialect
from ..cfg.editing import replace_values
from ..cfg.net_section import Net
from ..distributed import ProcessGroup
from ..errors import ConfigError, DataError
from ..files import atomic_write, check_outputs, create_folder
from ..hub import model_files
from ..network import Network
from ..training.batches import Data
from ..training.options import TrainOptions
from ..training.resume import build_network, resolve_weights, run_name
from ..training.validation import create_metric
from .records import SearchResult, TrialRecord, plot_history, plot_importances, write_csv
from .space_file import read_space
from .trial_run import Outcome, Task, remove_weights, run_trial, trial_files

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from .study import SharedStudy

_EVALUATIONS = 5  # of a trial
_ERROR = "error"  # attribute of a trial
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}

Report = Callable[[str], object]


def evolve(
    cfg: StrPath,
    data: Data,
    space: StrPath | None = None,
    *,
    trials: int = 30,
    iterations: int = 0,
    sampler: str = "nsga2",
    population: int = 10,
    sampler_seed: int = 0,
    prune: bool = True,
    storage: str | None = None,
    study: str = "",
    output: StrPath = "evolve",
    options: TrainOptions = TrainOptions(),  # noqa: B008 (immutable)
    size: tuple[int, int] | None = None,
    dialect: Dialect | str = Dialect.ALEXEYAB,
    strict: bool = False,
    max_bytes: int | None = None,
    allow_paths: bool = False,
    keep_weights: bool = False,
    progress: bool = False,
    report: Report = lambda sentence: None,
) -> SearchResult:
    """Search the hyperparameters of a cfg.

    A trial trains the cfg with other values, always with the same seed, and its score is the best of its evaluations.
    The first trial has the cfg's own values. A study that exists is continued; several processes may work on one.

    Args:
        cfg: The cfg file, or a name of the catalogue.
        data: What the trials train on, with a validation set.
        space: TOML file of what is searched; None: learning rate, momentum, decay, colours, mosaic, and of the
            detection heads jitter, thresholds and normalizers.
        trials: Trials after which the search ends, those of an earlier part and of other processes included.
        iterations: max_batches of a trial; 0: that of the cfg.
        sampler: How values are chosen: "nsga2" (a genetic algorithm), "tpe", "cmaes" or "random".
        population: Trials of a generation of nsga2.
        sampler_seed: Seed of the choice of values.
        prune: Stop a trial whose score is below the median of the others at the same iteration.
        storage: Where the trials are kept: URL of a database, or path of a journal file; None: ``output``/study.db.
        study: Name of the study in the storage; "": that of the cfg.
        output: Folder for all files.
        options: How the trials train. ``weights`` are those that each starts from; ``map_every`` 0 is a fifth of the
            iterations.
        size: Width and height of the input instead of the cfg's.
        dialect: Fork of Darknet to follow where the forks differ.
        strict: Whether text of the cfg that has no effect is an error.
        max_bytes: Memory that the network may need.
        allow_paths: Let the cfg name files outside of its surroundings, see ``cfg.load``.
        keep_weights: Keep the weights of all trials.
        progress: Show a progress bar for each trial on stderr.
        report: Called with a sentence about each trial.

    Returns:
        The trials and the best of them.

    Raises:
        ConfigError: An argument, the cfg or the space is invalid, or the study was created with others.
        DataError: The data is invalid, or has no validation set.
        DarknetError: Optuna is not installed, or the storage cannot be used.
        KeyboardInterrupt: A signal has ended the search; the same call continues it.
    """
    from .samplers import create_sampler  # first: says that Optuna is missing
    from .study import open_study

    _check_arguments(trials, iterations, options)
    building: dict[str, Any] = {"size": size, "dialect": dialect, "strict": strict, "max_bytes": max_bytes}
    folder = pathlib.Path(output)
    network = build_network(_read_cfg(cfg, iterations, allow_paths=allow_paths), **building)
    found = read_space(network, space)
    options = _complete_options(network, options, progress=progress)
    metric = create_metric(network, data, replace(options, verbose=progress), ProcessGroup())
    if metric is None:
        raise DataError("no score to search by: expected a data set with images for validation (valid=)")
    data_path = data if isinstance(data, str | os.PathLike) else None
    journal = None if storage is None or "://" in storage else storage
    inputs = [network.config.path, options.weights, space, data_path]
    check_outputs([folder / "best.cfg", folder / "best.weights", journal], inputs)
    task = Task(network.config, found, data, options, building, progress)
    settings = {
        "cfg": network.config.text,
        "data": os.path.basename(os.fspath(data_path or "")),
        "weights": os.path.basename(os.fspath(options.weights or "")),
        "size": size,
        "dialect": str(network.dialect),
        "seed": options.seed,
        "fixed": {str(index): dict(texts) for index, texts in found.fixed.items()},
        **options.recipe,
    }
    with open_study(
        storage,
        study or run_name(network.config.path, options),
        folder,
        found,
        settings=settings,
        sampler=create_sampler(sampler, seed=sampler_seed, population=population),
        prune=prune,
        total=trials,
    ) as shared:
        for sentence in (*found.notes, *shared.recover()):
            report(sentence)
        while not shared.is_complete:
            _run_next(shared, task, folder, trials, keep_weights=keep_weights, report=report)
        _publish(shared, task, folder)
        records = tuple(map(_to_record, shared.trials))
        best = None if shared.best is None else _to_record(shared.best)
        if place := shared.other_place(shared.best):
            report(f"the best trial was trained elsewhere: {place}")
        result = SearchResult(records, best, shared.importances(), metric.name, folder)
    _write_results(result, report)
    return result


def _check_arguments(trials: int, iterations: int, options: TrainOptions) -> None:
    if trials < 1:
        raise ConfigError(f"trials: expected 1 or more, got {trials}")
    if iterations < 0:
        raise ConfigError(f"iterations: expected 1 or more, or 0 for max_batches of the cfg, got {iterations}")
    if options.process_group is not None or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a search trains in one process: start several without torchrun, which share the study")


def _read_cfg(cfg: StrPath, iterations: int, *, allow_paths: bool) -> cfg_.Config:
    """Parse a cfg, with another number of iterations if there is one."""
    config = cfg_.load(model_files.find_cfg(cfg), allow_paths=allow_paths)
    if not iterations:
        return config
    text = replace_values(config, {0: {"max_batches": str(iterations)}})
    return cfg_.loads(text, config.path, allow_paths=allow_paths)


def _complete_options(network: Network, options: TrainOptions, *, progress: bool) -> TrainOptions:
    net: Net = network.options
    if not net.max_batches:
        raise ConfigError(f"{network.config.path}: expected max_batches= in [net], or a number of iterations")
    return replace(
        options,
        weights=None if options.weights is None else resolve_weights(options.weights),
        map_every=options.map_every or max(1, net.max_batches // _EVALUATIONS),
        chart="" if options.chart is None else options.chart,
        validate=True,
        verbose=False,
    )


def _run_next(
    shared: SharedStudy, task: Task, folder: pathlib.Path, total: int, *, keep_weights: bool, report: Report
) -> None:
    """Run a trial, if one is left, and keep its files if it is the best."""
    with shared.next_trial() as begun:
        if begun is None:
            return
        trial, place = begun
        try:
            outcome = run_trial(task, trial, place)
        except KeyboardInterrupt:
            report(f"trial {trial.number} was interrupted: the same command continues it")
            raise
        if outcome.error:
            trial.set_user_attr(_ERROR, outcome.error)
        shared.finish(trial, outcome.score, is_pruned=outcome.is_pruned)
        _publish(shared, task, folder)
        if not keep_weights:
            remove_weights(place, task.stem)
        report(_describe(shared, trial.number, outcome, total))


def _describe(shared: SharedStudy, number: int, outcome: Outcome, total: int) -> str:
    """A trial that has ended, in a line."""
    record = next(_to_record(trial) for trial in shared.trials if trial.number == number)
    how = f"failed ({outcome.error.partition('.')[0]})" if outcome.error else f"{outcome.score:.2%}"
    how += ", pruned" if outcome.is_pruned else ""
    best = shared.best
    leader = "" if best is None else f" (best {best.value or 0.0:.2%}, trial {best.number})"
    return f"trial {number} of {total}: {how}{leader}, {record.seconds:.0f} s: {record.describe()}"


def _publish(shared: SharedStudy, task: Task, folder: pathlib.Path) -> None:
    """Copy the files of the best trial, if they are here, to best.cfg and best.weights."""
    with shared.lock():
        if (best := shared.best) is None:
            return
        cfg, weights = trial_files(folder / "trials" / f"{best.number:04}", task.stem)
        if weights.exists():
            for source, target in ((cfg, "best.cfg"), (weights, "best.weights")):
                with open(source, "rb") as content, atomic_write(folder / target) as file:
                    shutil.copyfileobj(content, file)


def _to_record(trial: FrozenTrial) -> TrialRecord:
    duration = trial.duration
    score = trial.value
    if score is None and trial.intermediate_values:
        score = trial.intermediate_values[max(trial.intermediate_values)]
    return TrialRecord(
        trial.number,
        _STATES[trial.state.name],
        score,
        dict(trial.params),
        0.0 if duration is None else duration.total_seconds(),
        trial.user_attrs.get(_ERROR, ""),
    )


def _write_results(result: SearchResult, report: Report) -> None:
    """Write the table, and the plots if matplotlib is installed."""
    write_csv(result.trials, create_folder(result.folder) / "trials.csv")
    try:
        plot_history(result, result.folder / "history.png")
        if result.importances:
            plot_importances(result, result.folder / "importance.png")
    except ImportError as error:
        report(f"no plots: {error}")
