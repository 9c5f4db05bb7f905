"""The batcher alone: batches, the bounded queue, deadlines, errors and the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager

import pytest

from darknet_py.serving.batcher import Batcher, DeadlineError, DrainingError, QueueFullError

SECONDS = 30  # a limit for what should take no time


class Worker:
    """What a batcher runs: doubles numbers; records the batches; waits while it is held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def prepare(self, number: int) -> int:
        if number < 0:
            raise ValueError(f"{number} is negative")
        return number

    def run(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.entered.set()
        assert self.free.wait(SECONDS)
        if 13 in numbers:
            raise RuntimeError("13")
        return [2 * number for number in numbers]


@contextmanager
def busy(worker: Worker, **options: object) -> Iterator[tuple[Batcher[int, int, int], Future[int]]]:
    """A batcher that computes a batch of one, the number 0, until ``worker.free`` is set."""
    batcher = Batcher(worker.prepare, worker.run, **options)  # type: ignore[arg-type]
    worker.free.clear()
    first = batcher.submit(0)
    assert worker.entered.wait(SECONDS)
    try:
        yield batcher, first
    finally:
        worker.free.set()
        batcher.close()


def wait_until_prepared(batcher: Batcher[int, int, int], count: int) -> None:
    end = time.monotonic() + SECONDS
    while len(batcher._ready) < count and time.monotonic() < end:
        time.sleep(0.001)


def test_what_waits_shares_a_batch_and_each_gets_its_own_result() -> None:
    worker, sizes = Worker(), []
    with busy(worker, max_batch=4, on_batch=lambda size, seconds: sizes.append((size, seconds >= 0))) as (batcher, _):
        futures = [batcher.submit(number) for number in range(1, 7)]
        wait_until_prepared(batcher, 6)
        worker.free.set()
        assert [future.result(SECONDS) for future in futures] == [2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in worker.batches] == [1, 4, 2]
    assert sorted(number for batch in worker.batches for number in batch) == list(range(7))
    assert sizes == [(1, True), (4, True), (2, True)]


def test_a_single_request_does_not_wait_for_others() -> None:
    worker = Worker()
    batcher = Batcher(worker.prepare, worker.run, max_wait=SECONDS)
    assert batcher.submit(4).result(SECONDS / 2) == 8
    batcher.close()


def test_a_batch_waits_for_what_is_being_prepared_but_not_longer_than_max_wait() -> None:
    slow, worker = threading.Event(), Worker()

    def prepare(number: int) -> int:
        if number == 2:
            slow.wait(SECONDS)
        return number

    batcher = Batcher(prepare, worker.run, max_wait=SECONDS)
    futures = [batcher.submit(2), batcher.submit(1)]
    wait_until_prepared(batcher, 1)
    time.sleep(0.05)
    assert not worker.batches  # 1 is ready, and waits for 2
    slow.set()
    assert [future.result(SECONDS) for future in futures] == [4, 2]
    assert worker.batches == [[1, 2]]
    batcher.close()

    slow.clear()
    worker.batches.clear()
    batcher = Batcher(prepare, worker.run, max_wait=0.01)
    futures = [batcher.submit(2), batcher.submit(1)]
    assert futures[1].result(SECONDS) == 2
    assert worker.batches == [[1]]
    slow.set()
    batcher.close()


def test_the_queue_is_bounded() -> None:
    worker = Worker()
    with busy(worker, queue=2) as (batcher, first):
        futures = [batcher.submit(1), batcher.submit(2)]
        assert batcher.is_full
        assert batcher.waiting == 2
        with pytest.raises(QueueFullError, match="2 requests wait already, which is the limit"):
            batcher.submit(3)
        worker.free.set()
        assert [future.result(SECONDS) for future in (first, *futures)] == [0, 2, 4]
        assert batcher.submit(3).result(SECONDS) == 6


def test_a_request_that_fails_or_is_cancelled_frees_its_place() -> None:
    worker = Worker()
    with busy(worker, queue=2) as (batcher, _):
        wrong, cancelled = batcher.submit(-1), batcher.submit(1)
        cancelled.cancel()
        with pytest.raises(ValueError, match="-1 is negative"):
            wrong.result(SECONDS)
        worker.free.set()
        with pytest.raises(CancelledError):
            cancelled.result(SECONDS)
    assert batcher.waiting == 0
    assert worker.batches == [[0]]


def test_a_request_past_its_deadline_is_not_computed() -> None:
    worker = Worker()
    with busy(worker) as (batcher, _):
        late, in_time = batcher.submit(1, timeout=0.01), batcher.submit(2)
        time.sleep(0.05)
        worker.free.set()
        with pytest.raises(DeadlineError):
            late.result(SECONDS)
        assert in_time.result(SECONDS) == 4
    assert worker.batches == [[0], [2]]


def test_one_request_does_not_spoil_the_results_of_others() -> None:
    worker = Worker()
    with busy(worker) as (batcher, _):
        futures = [batcher.submit(number) for number in (5, 13, 6)]
        wait_until_prepared(batcher, 3)
        worker.free.set()
        assert [futures[0].result(SECONDS), futures[2].result(SECONDS)] == [10, 12]
        with pytest.raises(RuntimeError, match="13"):
            futures[1].result(SECONDS)
        assert batcher.submit(7).result(SECONDS) == 14  # and the thread lives


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_number_of_results_is_an_error(count: int) -> None:
    batcher = Batcher(Worker().prepare, lambda numbers: [0] * count)
    with pytest.raises(ValueError, match="zip"):
        batcher.submit(1).result(SECONDS)
    batcher.close()


def test_close_computes_what_was_accepted_and_refuses_the_rest() -> None:
    worker = Worker()
    with busy(worker, max_batch=2) as (batcher, first):
        futures = [batcher.submit(number) for number in (1, 2, 3)]
        batcher.drain()
        assert not batcher.is_idle
        with pytest.raises(DrainingError):
            batcher.submit(4)
        worker.free.set()
        batcher.close()
        assert [future.result(0) for future in (first, *futures)] == [0, 2, 4, 6]
        batcher.close()  # twice is once
    assert batcher.is_idle


def test_close_waits_for_what_is_being_prepared() -> None:
    slow, worker = threading.Event(), Worker()

    def prepare(number: int) -> int:
        slow.wait(SECONDS)
        return number

    batcher = Batcher(prepare, worker.run)
    future = batcher.submit(3)
    batcher.drain()
    time.sleep(0.05)
    slow.set()
    batcher.close()
    assert future.result(SECONDS) == 6


def test_what_is_left_at_the_end_of_the_time_fails() -> None:
    worker = Worker()
    with busy(worker, max_batch=1) as (batcher, first):
        futures = [batcher.submit(number) for number in (1, 2)]
        batcher.drain(0.01)
        time.sleep(0.05)
        worker.free.set()
        batcher.close()
        assert first.result(0) == 0  # was being computed
        for future in futures:
            with pytest.raises(DeadlineError):
                future.result(0)
    assert worker.batches == [[0]]


def test_a_batcher_without_requests_has_no_thread() -> None:
    threads = threading.active_count()
    batcher = Batcher(Worker().prepare, Worker().run)
    assert threading.active_count() == threads
    batcher.close()
    with pytest.raises(DrainingError):
        batcher.submit(1)
