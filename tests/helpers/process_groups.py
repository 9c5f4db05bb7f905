"""Processes of one run, one after the other in this process: the main one is last, and gets what the others sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from darknet_py.distributed import ProcessGroup

T = TypeVar("T")


class SequentialGroup(ProcessGroup):
    """A process that does not wait: it computes what the main one would send, and leaves what that one gathers.

    Args:
        sent: what the processes before have left, for each exchange.
    """

    def __init__(self, rank: int, world_size: int, sent: dict[int, list[Any]]) -> None:
        super().__init__(rank, world_size, rank)
        self._sent = sent
        self._exchanges = 0

    def compute_once(self, function: Callable[[], T]) -> T:
        """What the main process would compute."""
        return function()

    def gather(self, value: T) -> list[T]:
        """Leave the value, or return all."""
        self._exchanges += 1
        values = self._sent.setdefault(self._exchanges, [])
        values.append(value)
        return [values[-1], *values[:-1]] if self.is_main else []

    def all_gather(self, value: T) -> list[T]:
        """Return all values, or leave this one and end the process, which cannot have all."""
        if values := self.gather(value):
            return values
        raise _SentError


class _SentError(Exception):
    """A process has left what the main one needs."""


def run(monkeypatch: pytest.MonkeyPatch, world_size: int, function: Callable[[], T]) -> T:
    """Call a function as each of the processes would, and return the main one's result."""
    sent: dict[int, list[Any]] = {}
    for rank in range(1, world_size):
        with _joining(monkeypatch, SequentialGroup(rank, world_size, sent)), contextlib.suppress(_SentError):
            function()
    with _joining(monkeypatch, SequentialGroup(0, world_size, sent)):
        return function()


@contextlib.contextmanager
def _joining(monkeypatch: pytest.MonkeyPatch, group: ProcessGroup) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(ProcessGroup, "init", lambda **_: group)
        yield
