"""``Batcher``: requests of many threads become batches of one thread.

A request is prepared by one of a few threads, for example an image is decoded, and then waits for the thread that runs
the batches. It takes what is ready, and waits for more only while further requests are being prepared: while it
computes, the next batch gathers by itself. The number of requests that are prepared or wait is bounded.
"""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from ..errors import DarknetError
from ..messages import get_logger

SourceT = TypeVar("SourceT")
PreparedT = TypeVar("PreparedT")
ResultT = TypeVar("ResultT")

_log = get_logger(__name__)


class QueueFullError(DarknetError):
    """A request that was refused, because too many others wait."""


class DrainingError(DarknetError):
    """A request that was refused, because the batcher ends."""


class DeadlineError(DarknetError):
    """A request that was not computed, because its time had passed."""


class _Job(Generic[SourceT, PreparedT, ResultT]):
    """A request: its source until it is prepared, then what was prepared, and the future of its result."""

    def __init__(self, source: SourceT, deadline: float) -> None:
        self.source: SourceT | None = source
        self.prepared: PreparedT | None = None
        self.deadline = deadline
        self.future: Future[ResultT] = Future()

    def is_wanted(self, end: float) -> bool:
        """Whether somebody still waits for the result; past the deadline or ``end`` the future gets the error."""
        if self.future.cancelled():
            return False
        if time.monotonic() > min(self.deadline, end):
            self.fail(DeadlineError("the time of the request has passed"))
            return False
        return True

    def fail(self, error: BaseException) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Batcher(Generic[SourceT, PreparedT, ResultT]):
    """Run a function on batches of what several threads submit.

    Args:
        prepare: called with each source, in one of ``workers`` threads.
        run: called with up to ``max_batch`` prepared sources, in one thread; returns a result for each. If it raises
            for several, it is called with each alone, so that one cannot spoil the results of others.
        max_batch: largest batch.
        max_wait: seconds that a batch waits for requests that are being prepared.
        queue: most requests that are being prepared or wait.
        workers: threads that prepare.
        on_batch: called with the size of each batch and its seconds.
    """

    def __init__(
        self,
        prepare: Callable[[SourceT], PreparedT],
        run: Callable[[Sequence[PreparedT]], Sequence[ResultT]],
        *,
        max_batch: int = 8,
        max_wait: float = 0.005,
        queue: int = 64,
        workers: int = 2,
        on_batch: Callable[[int, float], object] = lambda size, seconds: None,
    ) -> None:
        self._prepare = prepare
        self._run = run
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._queue = queue
        self._on_batch = on_batch
        self._condition = threading.Condition()
        self._ready: collections.deque[_Job[SourceT, PreparedT, ResultT]] = collections.deque()
        self._waiting = 0  # accepted, and not yet in a batch
        self._computing = 0
        self._draining = False
        self._end = math.inf  # after which nothing is computed any more
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        self._thread: threading.Thread | None = None  # started by the first request

    @property
    def waiting(self) -> int:
        """Number of requests that are being prepared or wait for a batch."""
        return self._waiting

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self._waiting >= self._queue

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or is computed."""
        with self._condition:
            return not (self._waiting or self._computing)

    def submit(self, source: SourceT, timeout: float = math.inf) -> Future[ResultT]:
        """Accept a request.

        Args:
            source: what ``prepare`` gets.
            timeout: seconds after which it is not computed any more, and the future raises DeadlineError.

        Returns:
            The future of the result. It raises what ``prepare`` or ``run`` raises; a cancelled one is not computed.

        Raises:
            QueueFullError: too many requests wait.
            DrainingError: ``drain`` has been called.
        """
        with self._condition:
            if self._draining:
                raise DrainingError("the server is shutting down")
            if self._waiting >= self._queue:
                raise QueueFullError(f"{self._waiting} requests wait already, which is the limit")
            self._waiting += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
                self._thread.start()
        job: _Job[SourceT, PreparedT, ResultT] = _Job(source, time.monotonic() + timeout)
        self._pool.submit(self._prepare_job, job)
        return job.future

    def drain(self, timeout: float = math.inf) -> None:
        """Refuse further requests; those that were accepted are computed, in ``timeout`` seconds, or fail."""
        with self._condition:
            self._draining = True
            self._end = min(self._end, time.monotonic() + timeout)
            self._condition.notify_all()

    def close(self) -> None:
        """Refuse further requests, and wait for those that were accepted."""
        self.drain()
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown()

    def _prepare_job(self, job: _Job[SourceT, PreparedT, ResultT]) -> None:
        is_ready = False
        source, job.source = job.source, None
        if job.is_wanted(self._end):
            try:
                job.prepared = self._prepare(source)  # type: ignore[arg-type]  # it is set until here
                is_ready = True
            except Exception as error:  # of any kind: it is the result of this request
                job.fail(error)
        with self._condition:
            if is_ready:
                self._ready.append(job)
            else:
                self._waiting -= 1
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._ready or (self._draining and not self._waiting))
                if not self._ready:
                    return
                self._gather()
                jobs = [self._ready.popleft() for _ in range(min(self._max_batch, len(self._ready)))]
                self._waiting -= len(jobs)
                self._computing = len(jobs)
            jobs = [job for job in jobs if job.is_wanted(self._end) and job.future.set_running_or_notify_cancel()]
            if jobs:
                started = time.perf_counter()
                self._run_jobs(jobs)
                self._on_batch(len(jobs), time.perf_counter() - started)
            with self._condition:
                self._computing = 0

    def _gather(self) -> None:
        """Wait until a batch is full, nothing is being prepared, or the time is over."""
        end = time.monotonic() + self._max_wait
        while len(self._ready) < min(self._max_batch, self._waiting) and (left := end - time.monotonic()) > 0:
            self._condition.wait(left)

    def _run_jobs(self, jobs: Sequence[_Job[SourceT, PreparedT, ResultT]]) -> None:
        try:
            results = self._run([job.prepared for job in jobs])  # type: ignore[misc]  # all are prepared
            pairs = list(zip(jobs, results, strict=True))
        except Exception as error:  # of any kind: the thread serves others
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            _log.warning("a batch of %d failed, and is computed one by one: %s", len(jobs), error)
            for job in jobs:
                self._run_jobs([job])
        else:
            for job, result in pairs:
                job.future.set_result(result)
