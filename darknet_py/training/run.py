"""``Run``: a training from its first or a later iteration to its last, with the files and figures it leaves.

    train -> tell -> mAP -> chart -> files, for each iteration, as Darknet does it

What an iteration does follows from the weights, the trainer's state, the seed and its number. All that is in the
state file, so a run that was killed and goes on from there ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..signals import DeferredSignals
from .checkpoints import CheckpointWriter, TrainingState
from .distributed import ProcessGroup
from .gradient_checkpointing import checkpoint_activations
from .loader import Batch
from .logger import Entry, MetricLogger
from .nan_check import NaNCheck
from .train import Trainer

_KEPT = 0.9  # of the average loss at each iteration


class Batches(Protocol):
    """Where the images come from; ``Loader`` is one. ``iteration``: the next one's."""

    iteration: int

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is kept and ended.

    ``map_every``: iterations between countings of mAP; 0: only at the end. ``patience``: countings without
    a better mAP after which it ends; 0: never. ``minutes``: after which the state is saved, whatever the
    iteration. ``channels_last``: images lie channel by channel for each pixel, which GPUs read faster.
    ``recompute``: less memory for more time. ``seed``: of everything random.
    """

    map_every: int = 0
    patience: int = 0
    minutes: float = 10.0
    channels_last: bool = False
    recompute: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: updates, average loss, best score (None if never counted), whether by ``patience``, files."""

    iteration: int
    loss: float
    best: float | None
    early: bool
    weights: pathlib.Path
    measured: str


class Run:
    """Drives a trainer over batches.

    ``score``: counts mAP, or what else shall be high, in 0..1; None where there is nothing to count on. All
    processes of ``team`` call it. Raises ConfigError where no iteration is left.
    """

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches,
        snapshots: CheckpointWriter,
        journal: MetricLogger,
        *,
        score: Callable[[], float] | None = None,
        settings: Settings | None = None,
        team: ProcessGroup | None = None,
    ) -> None:
        self.trainer, self.batches, self.snapshots, self.journal = trainer, batches, snapshots, journal
        self.score, self.settings, self.team = score, settings or Settings(), team or ProcessGroup()
        self.network, self.last = trainer.network, trainer.options.max_batches
        self.average, self.best, self.waited = math.nan, -1.0, 0
        self.decode_all = trainer.iteration
        if self.last and trainer.iteration >= self.last:
            raise ConfigError(
                f"iteration {trainer.iteration} of max_batches={self.last}: nothing is left to train. Raise "
                "max_batches, or count from 0 (--clear), as for weights that were trained on something else"
            )
        self.guard = NaNCheck(self.network, self.team)
        trainer.team, trainer.guard = self.team, lambda: self.guard.losses(trainer.parts)

    def resume(self, state: TrainingState) -> None:
        """Go on as the state says; network and trainer are those of its time already."""
        self.average, self.best, self.waited, self.decode_all = (
            state.run[key] for key in ("average", "best", "waited", "scored")
        )
        self.guard.saved = f"{self.snapshots.state} is of iteration {state.iteration}"

    def run(self) -> Outcome:
        """Train. Raises KeyboardInterrupt after Ctrl-C, when all is saved, and DarknetError."""
        settings, device = self.settings, next(self.network.parameters()).device
        self.batches.iteration = self.trainer.iteration
        self.team.spread(self.network.state_dict().values())
        self._started, self._trained, self._saved = time.monotonic(), 0, time.monotonic()
        early, entry = False, None
        with ExitStack() as stack:
            stack.callback(self.journal.close)
            stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
            stack.enter_context(checkpoint_activations(self.network) if settings.recompute else nullcontext())
            asked = stack.enter_context(DeferredSignals(self._stopping))
            for batch in self.batches:
                entry, early = self._turn(batch)
                stop = self._agreed(asked.asked)
                if stop or self._due(entry.iteration) or self._late():
                    self._save()
                if stop:
                    self.journal.draw(entry, at_once=True)
                    self.journal.say(f"stopped at iteration {entry.iteration}; go on with --resume")
                    raise KeyboardInterrupt
                if early:
                    break
            if entry is not None:
                self._finish(entry)
        best, files = self.best if self.best >= 0 else None, self.snapshots
        return Outcome(self.trainer.iteration, self.average, best, early, files.path("final"), self.journal.measured)

    def _turn(self, batch: Batch) -> tuple[Entry, bool]:
        """One iteration and what is told of it; whether it is to be the last."""
        self.guard.batch = batch
        torch.manual_seed(_seed(self.settings.seed, batch.iteration, self.team.rank))
        began = time.monotonic()
        cost = self.trainer.step(self._laid(batch))
        images = sum(len(x) for x, _ in batch.pairs) * self.team.world
        device = next(self.network.parameters()).device
        loss = float(self.team.total(torch.tensor(cost, dtype=torch.float32, device=device))) / images
        fresh = not math.isfinite(self.average)
        self.average = loss if fresh else _KEPT * self.average + (1 - _KEPT) * loss
        self._trained += 1
        entry = self._entry(loss, images, time.monotonic() - began)
        if self.team.writes:
            self.journal.tell(entry)
        score = self._score(entry.iteration)
        if score is not None:
            entry = Entry(**vars(entry) | {"score": score})
        if self.team.writes:
            self.journal.write(entry)
        patience = self.settings.patience
        return entry, bool(patience) and self.waited >= patience

    def _laid(self, batch: Batch) -> Sequence[tuple[Tensor, Any]]:
        if not self.settings.channels_last:
            return batch.pairs
        return [(x.contiguous(memory_format=torch.channels_last), targets) for x, targets in batch.pairs]

    def _entry(self, loss: float, images: int, seconds: float) -> Entry:
        iteration, whole = self.trainer.iteration, time.monotonic() - self._started
        left = (self.last - iteration) * whole / self._trained / 3600 if self.last else 0.0
        seen, speed = self.network.seen, images * self._trained / max(whole, 1e-9)
        parts = _merged(self.trainer.parts)
        return Entry(iteration, loss, self.average, self.trainer.rate, seconds, seen, speed, left, parts)

    def _score(self, iteration: int) -> float | None:
        """mAP, where its time has come."""
        every = self.settings.map_every
        due = bool(every) and iteration >= max(self.decode_all + every, self.trainer.options.burn_in)
        if self.score is None or not (due or iteration == self.last):
            return None
        self._align()
        score, self.decode_all = self.score(), iteration
        self.waited = 0 if score > self.best else self.waited + 1
        better = score >= self.best
        self.best = max(score, self.best)
        if self.team.writes:
            if better:
                self.snapshots.save(self.network, "best")
            self.journal.say(f"  {self.journal.measured} {score:.2%} at iteration {iteration}, best {self.best:.2%}")
        return score

    def _due(self, iteration: int) -> bool:
        return iteration % self.snapshots.last == 0 or iteration % self.snapshots.every == 0

    def _late(self) -> bool:
        return self._agreed(time.monotonic() - self._saved > 60 * self.settings.minutes)

    def _agreed(self, wish: bool) -> bool:
        """Whether any process wishes so."""
        if self.team.world == 1:
            return wish
        device = next(self.network.parameters()).device
        return bool(self.team.total(torch.tensor(float(wish), device=device)))

    def _align(self) -> None:
        """Make what processes have of their own the same: the rolling statistics, where they are not synchronised."""
        if not self.team.synchronised:
            self.team.average([b for b in self.network.buffers() if b.is_floating_point()])

    def _save(self) -> None:
        """Write what is due."""
        self._align()
        self.guard.weights()
        self._saved, iteration = time.monotonic(), self.trainer.iteration
        if not self.team.writes:
            return
        if iteration % self.snapshots.every == 0:
            self.snapshots.save(self.network, iteration)
        if self.trainer.ema.tensors is not None:
            with self.trainer.ema.applied():
                self.snapshots.save(self.network, "ema")
        self.snapshots.save_state(self.network, self.trainer.state_dict(), self._remembered(), self.settings.seed)
        self.guard.saved = f"{self.snapshots.state} is of iteration {iteration}"

    def _remembered(self) -> dict[str, Any]:
        return {"average": self.average, "best": self.best, "waited": self.waited, "scored": self.decode_all}

    def _finish(self, entry: Entry) -> None:
        self._save()
        if self.team.writes:
            self.snapshots.save(self.network, "final")
            self.journal.draw(entry, at_once=True)

    def _stopping(self) -> None:
        self.journal.say("stopping after this iteration; once more to stop now, without saving")


def _seed(*numbers: int) -> int:
    """Of what layers draw in an iteration, such as dropout."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def _merged(parts: Sequence[Mapping[int, Mapping[str, float]]]) -> dict[int, dict[str, float]]:
    """Figures of the mini-batches as one: means, but for counts."""
    merged: dict[int, dict[str, float]] = {}
    for layer, names in (parts[0] if parts else {}).items():
        columns = {name: [of_batch[layer][name] for of_batch in parts] for name in names}
        merged[layer] = {n: sum(c) if n == "count" else sum(c) / len(c) for n, c in columns.items()}
    return merged
