"""``Callback``: code that a training run calls at its events, and that can stop it.

The events of a run, in this order:

    start
    for each iteration:  step, then evaluation (if one is due), then checkpoint (for each file that is written)
    end                  however the run ends

Callbacks are called in the order in which they are given, in the main process only.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from ..errors import ConfigError, DarknetError
from ..network import Network
from .metrics import IterationMetrics


@dataclass(frozen=True)
class StartEvent:
    """A run is about to make its first iteration.

    Attributes:
        name: Stem of the files that the run writes.
        folder: Where it writes them.
        iteration: Number of updates made before.
        max_batches: Iteration at which the run ends; 0 for never.
        resumed: Whether it continues an earlier run from its state.
        score_name: What evaluations compute: "mAP", "top-1", ...
        recipe: Data, cfg and every option, as plain values; NAME_args.json has the same.
        network: The network that is trained, to look at.
    """

    name: str
    folder: pathlib.Path
    iteration: int
    max_batches: int
    resumed: bool
    score_name: str
    recipe: Mapping[str, Any]
    network: Network


@dataclass(frozen=True)
class StepEvent:
    """An iteration has updated the weights.

    Attributes:
        metrics: Its numbers.
        evaluation_follows: Whether an evaluation is due after it.
    """

    metrics: IterationMetrics
    evaluation_follows: bool

    @property
    def iteration(self) -> int:
        """Number of updates made."""
        return self.metrics.iteration


@dataclass(frozen=True)
class EvaluationEvent:
    """The network has been evaluated on the validation set.

    Attributes:
        iteration: Number of updates made.
        name: What the score is: "mAP", "top-1", ...
        score: In 0..1.
        best: Best score so far, this one included.
        is_best: Whether this score equals or exceeds all before.
    """

    iteration: int
    name: str
    score: float
    best: float
    is_best: bool


@dataclass(frozen=True)
class CheckpointEvent:
    """A file of weights has been written.

    Attributes:
        iteration: Number of updates made.
        kind: "last", "best", "ema", "final" or "numbered".
        weights: The .weights file.
        state: The state to resume from, which is written with "last"; None for the other kinds.
    """

    iteration: int
    kind: str
    weights: pathlib.Path
    state: pathlib.Path | None = None


@dataclass(frozen=True)
class EndEvent:
    """A run has ended.

    Attributes:
        iteration: Number of updates made.
        status: "finished": max_batches is reached; "stopped": by a callback or ``patience``; "interrupted": by a
            signal; "failed": by an error.
        reason: Why it was stopped, or the error; empty otherwise.
        average_loss: Running average of the loss.
        best: Best score; None if none was computed.
    """

    iteration: int
    status: Literal["finished", "stopped", "interrupted", "failed"]
    reason: str
    average_loss: float
    best: float | None


Event = StartEvent | StepEvent | EvaluationEvent | CheckpointEvent | EndEvent


class StopTraining(Exception):
    """Raised by a callback to end the run after the current iteration. Its text is the reason.

    The state is saved, so that the run can be resumed, and the final weights are written.
    """


class Callback:
    """Base class of callbacks: every method does nothing.

    A method ends the run by raising ``StopTraining``. Any other exception ends it as an error, after the current
    iteration, whose state is saved.
    """

    def on_start(self, event: StartEvent) -> None:
        """Called before the first iteration."""

    def on_step(self, event: StepEvent) -> None:
        """Called after each iteration."""

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Called after each evaluation."""

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Called after each file of weights is written."""

    def on_end(self, event: EndEvent) -> None:
        """Called when the run ends, after an error and a signal too, if ``on_start`` was called."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback needs to continue when the run is resumed: numbers, text, tensors, lists and dicts.

        The keys of the dict that is returned are text.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` returned; called before ``on_start`` when a run is resumed."""


_METHODS: dict[type[Event], str] = {
    StartEvent: "on_start",
    StepEvent: "on_step",
    EvaluationEvent: "on_evaluation",
    CheckpointEvent: "on_checkpoint",
    EndEvent: "on_end",
}


class CallbackList:
    """The callbacks of a run: calls them, and keeps what ends the run.

    Args:
        callbacks: In the order of calls; none in processes other than the main one.

    Attributes:
        stop_reason: Why a callback has stopped the run; None if none has.
        error: The first error of a callback; None if there is none.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self.stop_reason: str | None = None
        self.error: DarknetError | None = None
        self._failed: set[int] = set()  # positions of callbacks that have raised an error

    @property
    def ends_run(self) -> bool:
        """Whether the run is to end after the current iteration."""
        return self.stop_reason is not None or self.error is not None

    def stop(self, reason: str) -> None:
        """End the run after the current iteration; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason

    def emit(self, event: Event) -> None:
        """Call all callbacks; one that has failed is called at the end of the run only."""
        method = _METHODS[type(event)]
        for position, callback in enumerate(self.callbacks):
            if position not in self._failed or isinstance(event, EndEvent):
                self._call(position, method, partial(getattr(callback, method), event))

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The states of all callbacks that have one, by name."""
        states: dict[str, dict[str, Any]] = {}
        for position, (name, callback) in enumerate(self._named()):
            if position not in self._failed:
                self._call(position, "state_dict", partial(_add_state, states, name, callback))
        return states

    def load_state_dict(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore the states of callbacks that have the same name as in the run that is resumed."""
        for position, (name, callback) in enumerate(self._named()):
            if name in states:
                self._call(position, "load_state_dict", partial(callback.load_state_dict, dict(states[name])))

    def _named(self) -> list[tuple[str, Callback]]:
        """Each callback with its class name; with a number behind it from the second of a class on."""
        named: dict[str, Callback] = {}
        for callback in self.callbacks:
            name = type(callback).__name__
            number = sum(other.partition("#")[0] == name for other in named) + 1
            named[f"{name}#{number}" if number > 1 else name] = callback
        return list(named.items())

    def _call(self, position: int, method: str, call: Callable[[], object]) -> None:
        name = type(self.callbacks[position]).__name__
        try:
            call()
        except StopTraining as stop:
            self.stop(f"{name}: {stop}" if str(stop) else name)
        except DarknetError as error:  # names place and fact already
            error.add_note(f"in callback {name}.{method}")
            self._fail(position, error)
        except Exception as cause:
            failure = DarknetError(f"callback {name}.{method}: {type(cause).__name__}: {cause}")
            failure.__cause__ = cause
            self._fail(position, failure)

    def _fail(self, position: int, error: DarknetError) -> None:
        self._failed.add(position)
        self.error = self.error or error


def _add_state(states: dict[str, dict[str, Any]], name: str, callback: Callback) -> None:
    state = callback.state_dict()
    if state:
        if not isinstance(state, dict):
            raise TypeError(f"expected a dict, found {type(state).__name__}")
        for key in state:
            if not isinstance(key, str):
                raise TypeError(f"expected text as keys, found {type(key).__name__}")
        _check_plain(state)
        states[name] = state


def check_callbacks(callbacks: Sequence[object]) -> None:
    """Raise ConfigError for what is no instance of ``Callback``, such as its class."""
    for callback in callbacks:
        if not isinstance(callback, Callback):
            found = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise ConfigError(f"callbacks: expected instances of Callback, got {found}")


def _check_plain(value: Any) -> None:
    """Raise TypeError for a value that a state file cannot hold."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key)
            _check_plain(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item)
    elif type(value) not in (bool, int, float, str, type(None), Tensor):
        raise TypeError(f"expected numbers, text, tensors, lists and dicts, found {type(value).__name__}")
