"""Images read by threads, in order: ``ahead``, while the network computes, or ``in_turns`` with it."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T], workers: int = 2, depth: int = 0) -> Generator[R]:
    """``map(function, items)`` on ``workers`` threads, which run at most ``depth`` items ahead of the reader.

    ``depth`` 0: four for each worker. ``workers`` 0: no threads. What ``function`` raises comes out in its place.
    """
    if workers < 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque[Future[R]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= (depth or 4 * workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_turns(function: Callable[[T], R], items: Iterable[T], workers: int, count: int) -> Generator[R]:
    """``map(function, items)``, ``count`` at a time on ``workers`` threads, none of which runs while the reader does.

    For a reader that wants all cores itself: one thread more makes each of its own wait for the others.
    """
    rest = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while turn := list(itertools.islice(rest, count)):
            futures = [pool.submit(function, item) for item in turn]
            wait(futures)
            yield from (future.result() for future in futures)
