"""``CheckpointWriter``: the files that a training run writes, under Darknet's names; ``TrainingState``: to resume it.

    NAME_1000.weights   every ``every`` iterations       NAME_last.weights   every ``last`` iterations
    NAME_best.weights   at the best mAP so far           NAME_ema.weights    averaged weights, with _last
    NAME_final.weights  at the end

NAME is the cfg's file name up to its first dot. NAME_last.state.pt is written with NAME_last.weights, atomically, and
suffices to resume the run bit for bit. It is a checkpoint (``weights.checkpoint``), so it is also read as weights, with
further entries:

    trainer      ``Trainer.state_dict()``: iteration, optimizer state, averaged weights, random generator
    progress     ``Progress``: average loss, best mAP, ...
    seed         of everything else random; images and dropout follow from it and the iteration
    recipe       what was given for the run: options, gradients, values of [net], input size, dialect, data
    callbacks    ``Callback.state_dict()`` of each callback that has one, by its class

It holds plain values and tensors only, so ``torch.load`` reads it with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

from torch import Tensor

from .. import locks, weights
from .._typing import StrPath
from ..errors import CheckpointError, ConfigError
from ..files import create_folder
from ..network import Network
from ..weights import checkpoint, containers, schema
from ..weights.checkpoint import Checkpoint

_STATE_SUFFIX = ".state.pt"


def checkpoint_name(cfg: StrPath) -> str:
    """The stem of a run's files: the cfg's file name up to its first dot."""
    return pathlib.Path(cfg).name.partition(".")[0]


def state_path(weights_path: StrPath) -> pathlib.Path:
    """The state file that belongs to a .weights file."""
    return pathlib.Path(weights_path).with_suffix(_STATE_SUFFIX)


@dataclass
class Progress:
    """What the training loop remembers from one iteration to the next, besides ``Trainer.state_dict()``.

    Attributes:
        average_loss: Running average of the loss; NaN before the first iteration.
        best: Best score of an evaluation; None before the first.
        stale_evaluations: Evaluations since the best.
        evaluated_at: Iteration of the last evaluation.
    """

    average_loss: float = math.nan
    best: float | None = None
    stale_evaluations: int = 0
    evaluated_at: int = 0

    def add_loss(self, loss: float) -> None:
        """Average as Darknet does: the first loss, and the first after NaN, is the average; then 0.9 old + 0.1 new."""
        average = self.average_loss
        self.average_loss = 0.9 * average + (1 - 0.9) * loss if math.isfinite(average) else loss

    def add_score(self, score: float, iteration: int) -> bool:
        """Record an evaluation. Returns whether its score equals or exceeds the best so far."""
        is_best = self.best is None or score >= self.best
        improved = self.best is None or score > self.best
        self.best = score if self.best is None else max(score, self.best)
        self.stale_evaluations = 0 if improved else self.stale_evaluations + 1
        self.evaluated_at = iteration
        return is_best


class TrainerState(TypedDict):
    """The entries of ``Trainer.state_dict()``."""

    iteration: int
    optimizer: Mapping[str, Sequence[Sequence[Tensor]] | Mapping[int, Sequence[Tensor]]]
    ema: Sequence[Tensor] | None
    label_rejection: Mapping[str, float]
    scaler: Mapping[str, float | bool]
    rng: tuple[int, Sequence[int], float | None]


@dataclass(frozen=True)
class TrainingState:
    """The content of a state file; the module's docstring describes each entry."""

    checkpoint: Checkpoint
    trainer: TrainerState
    progress: Progress
    seed: int
    recipe: Mapping[str, Any]
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def network(self) -> Mapping[str, Tensor]:
        """The state dict of the network."""
        return self.checkpoint.state_dict

    @property
    def cfg(self) -> str:
        """The text of the cfg."""
        return self.checkpoint.cfg

    @property
    def iteration(self) -> int:
        """Number of updates made."""
        return self.trainer["iteration"]

    def restore_network(self, network: Network, path: StrPath) -> None:
        """Copy the weights into a network. Raises CheckpointError if the state belongs to another one."""
        expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        found = {name: tuple(t.shape) for name, t in self.network.items()}
        for name in sorted(expected.keys() | found.keys()):
            there, here = found.get(name, "missing"), expected.get(name, "missing")
            if there != here:
                where = f"{name} is {there} there and {here} in {network.config.path}"
                raise CheckpointError(f"{os.fspath(path)}: the training state of another network: {where}")
        network.load_state_dict(dict(self.network))


class _OptionalEntries(TypedDict, total=False):
    callbacks: Mapping[str, Mapping[str, Any]]


class _Entries(_OptionalEntries):
    trainer: TrainerState
    progress: Progress
    seed: int
    recipe: Mapping[str, Any]


def read_state(path: StrPath) -> TrainingState:
    """Read a state file. Raises CheckpointError."""
    name = os.fspath(path)
    content = containers.read(path)
    loaded = checkpoint.from_entries(content, path)
    if "trainer" not in content:
        raise CheckpointError(f"{name}: expected the state of a training run, found weights only")
    entries = schema.check_entries(content, _Entries, name)
    progress = Progress(**entries["progress"])
    if entries["trainer"]["iteration"] < 0:
        raise CheckpointError(f"{name}: entry trainer.iteration: expected 0 or more")
    callbacks = entries.get("callbacks", {})
    return TrainingState(loaded, entries["trainer"], progress, entries["seed"], entries["recipe"], callbacks)


class CheckpointWriter:
    """Writes the files of a training run.

    Args:
        folder: Where to; it is created.
        name: Stem of the files.
        every: Iterations between numbered files.
        last: Iterations between _last files.

    Raises:
        ConfigError: ``every`` or ``last`` is below 1.
        DataError: The folder cannot be created.
    """

    def __init__(self, folder: StrPath, name: str, *, every: int = 1000, last: int = 100) -> None:
        for key, count in (("save_every", every), ("save_last", last)):
            if count < 1:
                raise ConfigError(f"{key}: expected 1 iteration or more between files, got {count}")
        self.folder = create_folder(folder)
        self.name = name
        self.every = every
        self.last = last

    def path(self, kind: str | int) -> pathlib.Path:
        """The .weights file of a kind (``last``, ``best``, ``final``, ``ema``) or an iteration."""
        return self.weights_path(self.folder, self.name, kind)

    @staticmethod
    def weights_path(folder: StrPath, name: str, kind: str | int) -> pathlib.Path:
        """The same without a writer, which would create the folder."""
        return pathlib.Path(folder) / f"{name}_{kind}.weights"

    @property
    def state(self) -> pathlib.Path:
        """The state file."""
        return state_path(self.path("last"))

    def is_due(self, iteration: int) -> bool:
        """Whether a numbered or a _last file is to be written after an iteration."""
        return iteration % self.last == 0 or iteration % self.every == 0

    def save(self, network: Network, kind: str | int) -> pathlib.Path:
        """Write a .weights file and return its path. Raises WeightsError."""
        weights.save(network, self.path(kind))
        return self.path(kind)

    def save_state(
        self,
        network: Network,
        trainer: Mapping[str, Any],
        progress: Progress,
        seed: int,
        recipe: Mapping[str, Any],
        callbacks: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write _last.weights, and the state beside it."""
        self.save(network, "last")
        entries = checkpoint.to_entries(checkpoint.create(network))
        entries |= {"trainer": _to_cpu(trainer), "progress": asdict(progress), "seed": seed, "recipe": dict(recipe)}
        if callbacks:
            entries["callbacks"] = _to_cpu(callbacks)
        containers.write(self.state, entries)

    @property
    def backup(self) -> pathlib.Path:
        """The state of the run before, while a new run has not written a state by its schedule."""
        return self.state.with_name(f"{self.state.name}.bak")

    def set_aside_state(self) -> None:
        """Rename the state of an earlier run with the same name, because a new run starts.

        If there is a ``backup`` already, the state is that of a run which was stopped before its first scheduled state.
        Then the older one is kept, which is worth more.
        """
        with contextlib.suppress(FileNotFoundError):
            if self.backup.exists():
                self.state.unlink()
            else:
                self.state.replace(self.backup)

    def remove_backup(self) -> None:
        """Delete the state of the run before."""
        self.backup.unlink(missing_ok=True)

    def has_final(self) -> bool:
        """Whether the final weights were written after the last state."""
        try:
            return self.path("final").stat().st_mtime_ns >= self.state.stat().st_mtime_ns
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def lock_files(folder: StrPath, name: str) -> Iterator[None]:
    """Keep other trainings from writing the files of this one.

    Raises:
        DataError: Another training writes them, or the folder cannot be created.
    """
    path = create_folder(folder) / f".{name}.lock"
    busy = f"{path.parent}: another training writes {name}_*: wait for its end, or choose another folder (--output)"
    with locks.lock(path, busy):
        yield


def _to_cpu(value: Any) -> Any:
    """Move the tensors in mappings and lists to the CPU, so that a state can be read on any machine."""
    if isinstance(value, Mapping):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_cpu(item) for item in value]
    return value.cpu() if isinstance(value, Tensor) else value
