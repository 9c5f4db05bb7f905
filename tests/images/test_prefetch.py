"""``map`` on threads keeps the order of results and exceptions."""

from __future__ import annotations

import pytest

from darknet_py.errors import DataError
from darknet_py.images.prefetch import map_interleaved, map_prefetched


def test_prefetched_results_and_exceptions_keep_their_order() -> None:
    def half(n: int) -> int:
        if n == 7:
            raise DataError("seven")
        return n // 2

    assert list(map_prefetched(half, range(6), workers=3)) == list(map(half, range(6)))
    results = map_prefetched(half, iter(range(100)), workers=2)
    with pytest.raises(DataError, match="seven"):
        list(results)


def test_interleaved_threads_are_idle_while_the_consumer_runs() -> None:
    seen: list[int] = []

    def record(n: int) -> int:
        if n == 8:
            raise DataError("eight")
        seen.append(n)
        return n

    results = map_interleaved(record, iter(range(100)), workers=2, count=3)
    assert [(next(results), len(seen)) for _ in range(8)] == [
        *((0, 3), (1, 3), (2, 3)),
        *((3, 6), (4, 6), (5, 6)),
        *((6, 8), (7, 8)),
    ]
    with pytest.raises(DataError, match="eight"):
        next(results)
