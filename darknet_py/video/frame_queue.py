"""The thread behind ``video.frames``: frames into a bounded queue, and a live source back that broke off."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

from ..errors import DataError
from ..images.reading import ImageArray
from .capture import Capture

_log = logging.getLogger(__name__)

_LONGEST = 30.0  # seconds between two attempts to connect
_POLL = 0.2  # seconds: a wait without an end cannot be interrupted on every system


class Frame(NamedTuple):
    """One frame: its number in the source, seconds since the first one, [height, width, 3] of uint8 in RGB order."""

    number: int
    timestamp: float
    image: ImageArray


class Queue:
    """Frames that wait for their reader: ``depth`` of them, or with ``dropping`` only the newest."""

    def __init__(self, depth: int, dropping: bool) -> None:
        self._depth, self._dropping = depth, dropping
        self._waiting: collections.deque[Frame] = collections.deque(maxlen=1 if dropping else None)
        self._change = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self.closed = False

    def put(self, frame: Frame) -> bool:
        """Add a frame when there is room; False where nobody reads any more."""
        with self._change:
            while not self.closed and not self._dropping and len(self._waiting) >= self._depth:
                self._change.wait(_POLL)
            if not self.closed:
                self._waiting.append(frame)
                self._change.notify_all()
            return not self.closed

    def take(self) -> Frame | None:
        """The next frame, None after the last one. Raises what ended the source."""
        with self._change:
            while not (self._waiting or self._ended or self.closed):
                self._change.wait(_POLL)
            if self._waiting and not self.closed:
                self._change.notify_all()
                return self._waiting.popleft()
            error, self._error = self._error, None
        if error is not None and not self.closed:
            raise error
        return None

    def end(self, error: Exception | None = None) -> None:
        """Say that the source gives no more."""
        with self._change:
            self._ended, self._error = True, error
            self._change.notify_all()

    def close(self) -> None:
        """Say that nobody reads any more."""
        with self._change:
            self.closed = True
            self._waiting.clear()
            self._change.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, at most until nobody reads any more."""
        with self._change:
            self._change.wait_for(lambda: self.closed, seconds)


class Reader:
    """What the thread does: bring frames into the queue, and get a live source back."""

    def __init__(
        self, name: str, connect: Callable[[], Capture], queue: Queue, stride: int, reconnect: int, backoff: float
    ) -> None:
        self._name, self._connect, self._queue, self._stride = name, connect, queue, stride
        self._reconnect, self._backoff = reconnect, backoff
        self._failed = 0  # attempts since the last frame

    def run(self, first: Capture) -> None:
        """Read until the end, of the source or of the reader's interest."""
        try:
            for frame in self._frames(first):
                if not self._queue.put(frame):
                    break
        except Exception as error:  # whatever it is, it belongs to who reads the frames
            self._queue.end(error)
        else:
            self._queue.end()

    def _frames(self, first: Capture) -> Iterator[Frame]:
        clock, number, source = _Clock(first), 0, first
        while True:
            lost: DataError | None = None
            try:
                with closing(source):
                    for at, image in source.shots():
                        self._failed = 0
                        timestamp = clock.read(at)
                        if number % self._stride == 0:
                            yield Frame(number, timestamp, image())
                        number += 1
                        if self._queue.closed:
                            return
            except DataError as error:
                lost = error
            if not first.live:
                if lost:
                    raise lost
                return
            if not self._reconnect:
                _log.warning("%s", lost or f"{self._name}: the stream ended")
                return
            again = self._again(lost or DataError(f"{self._name}: the stream ended"))
            if again is None:
                return
            source = again
            clock.restart()

    def _again(self, lost: DataError) -> Capture | None:
        """The source, connected again; None where nobody reads any more."""
        while self._failed < self._reconnect:
            wait = min(self._backoff * 2**self._failed, _LONGEST)
            self._failed += 1
            _log.warning("%s; attempt %d of %d in %.1f s", lost, self._failed, self._reconnect, wait)
            self._queue.pause(wait)
            if self._queue.closed:
                return None
            try:
                return self._connect()
            except DataError as error:
                lost = error
        raise DataError(f"{lost}; given up after {self._failed} attempts")


class _Clock:
    """Seconds since the first frame, which never go back: over lost connections, and where frames have no time."""

    def __init__(self, source: Capture) -> None:
        self._live, self._step = source.live, float(1 / source.rate)
        self._last = -self._step
        self._began: float | None = None
        self._zero: float | None = None

    def read(self, at: float | None) -> float:
        """The time of the next frame, which the source says is at ``at``."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        passed = now - self._began if self._live else self._last + self._step
        if at is not None:
            if self._zero is None:  # a source counts from anywhere, and from elsewhere when it comes back
                self._zero = at - passed
            passed = at - self._zero
        self._last = max(self._last, passed)
        return self._last

    def restart(self) -> None:
        """Forget where the source counts from."""
        self._zero = None
