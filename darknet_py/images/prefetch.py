"""``map`` on threads, in order: ahead of the consumer, or interleaved with it."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ..errors import DataError

T = TypeVar("T")
R = TypeVar("R")


def map_prefetched(function: Callable[[T], R], items: Iterable[T], workers: int = 2, depth: int = 0) -> Generator[R]:
    """``map(function, items)`` on threads that run ahead of the consumer.

    Args:
        function: called for each item; its exceptions are raised in the item's place.
        items: the items.
        workers: number of threads; 0: no threads.
        depth: maximum number of results ahead of the consumer; 0: four for each worker.

    Yields:
        The results in the order of ``items``.
    """
    if workers < 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: collections.deque[Future[R]] = collections.deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= (depth or 4 * workers):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def catch_errors(function: Callable[[T], R]) -> Callable[[T], R | DataError]:
    """Return a function that returns the DataError that ``function`` raises."""

    def catching(item: T) -> R | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    return catching


def drop_errors(results: Iterable[R | DataError], on_error: Callable[[DataError], object] | None) -> Iterator[R]:
    """Yield the results of ``catch_errors``, and call ``on_error`` in place of each error; None: raise it."""
    for result in results:
        if not isinstance(result, DataError):
            yield result
        elif on_error is None:
            raise result
        else:
            on_error(result)


def without_errors(items: Iterable[T | DataError]) -> list[T]:
    """Return the results of ``catch_errors`` that are no errors."""
    return [item for item in items if not isinstance(item, DataError)]


def restore_errors(items: Iterable[T | DataError], results: Iterable[R]) -> Iterator[R | DataError]:
    """Yield the results for ``without_errors(items)``, with the errors in their places between them."""
    rest = iter(results)
    for item in items:
        yield item if isinstance(item, DataError) else next(rest)


def take_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of ``size`` items; the last can be shorter."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def map_interleaved(function: Callable[[T], R], items: Iterable[T], workers: int, count: int) -> Generator[R]:
    """``map(function, items)`` in groups of ``count`` on threads that are idle while the consumer runs.

    For a consumer that uses all cores, whose threads would have to wait for another busy thread.
    """
    with ThreadPoolExecutor(workers) as pool:
        for group in take_batches(items, count):
            futures = [pool.submit(function, item) for item in group]
            wait(futures)
            yield from (future.result() for future in futures)
