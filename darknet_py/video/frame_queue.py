"""The thread behind ``VideoReader``: reads frames into a bounded queue and reconnects a live source."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import DataError
from ..images.reading import ImageArray
from ..messages import get_logger
from .capture import Capture

_log = get_logger(__name__)

_MAX_BACKOFF = 30.0  # seconds between two attempts to connect
_POLL = 0.2  # seconds: a wait without a timeout cannot be interrupted on every system


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
        number: index of the frame in the source, from 0.
        timestamp: seconds since the first frame.
        image: uint8 [height, width, 3], RGB.
    """

    number: int
    timestamp: float
    image: ImageArray


class FrameQueue:
    """A queue between the reading thread and its consumer: at most ``depth`` frames, or the newest one only.

    Args:
        depth: frames that the queue holds; ``put`` blocks while it is full.
        latest: keep the newest frame only; ``put`` never blocks.
    """

    def __init__(self, depth: int, *, latest: bool) -> None:
        self._depth = depth
        self._latest = latest
        self._frames: collections.deque[Frame] = collections.deque(maxlen=1 if latest else None)
        self._condition = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self.closed = False

    def put(self, frame: Frame) -> bool:
        """Add a frame, once there is room. Returns False if the consumer has closed the queue."""
        with self._condition:
            while not self.closed and not self._latest and len(self._frames) >= self._depth:
                self._condition.wait(_POLL)
            if not self.closed:
                self._frames.append(frame)
                self._condition.notify_all()
            return not self.closed

    def get(self) -> Frame | None:
        """Return the next frame, or None after the last one. Raises the exception that ended the source."""
        with self._condition:
            while not (self._frames or self._ended or self.closed):
                self._condition.wait(_POLL)
            if self._frames and not self.closed:
                self._condition.notify_all()
                return self._frames.popleft()
            error, self._error = self._error, None
        if error is not None and not self.closed:
            raise error
        return None

    def end(self, error: Exception | None = None) -> None:
        """Mark the end of the source; ``error`` is raised after the last frame."""
        with self._condition:
            self._ended = True
            self._error = error
            self._condition.notify_all()

    def close(self) -> None:
        """Discard the queued frames and make ``put`` return False."""
        with self._condition:
            self.closed = True
            self._frames.clear()
            self._condition.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds, or until the queue is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self.closed, seconds)


@dataclass(frozen=True)
class ReconnectPolicy:
    """How to reconnect a live source.

    Attributes:
        attempts: attempts in a row; 0: the end of the stream is the end of the video.
        backoff: seconds before the first attempt, doubled before each further one.
    """

    attempts: int
    backoff: float

    def delay(self, attempt: int) -> float:
        """Seconds to wait before an attempt, counted from 0."""
        return min(self.backoff * 2.0**attempt, _MAX_BACKOFF)


class FrameReaderThread(threading.Thread):
    """Reads every ``stride``-th frame of an open capture into a queue, and reconnects it if it is live.

    The thread refers to the queue, not to its ``VideoReader``: a reader that is garbage-collected closes the queue,
    and the thread ends.
    """

    def __init__(
        self,
        name: str,
        capture: Capture,
        connect: Callable[[], Capture],
        queue: FrameQueue,
        stride: int,
        reconnect: ReconnectPolicy,
    ) -> None:
        super().__init__(name=f"frames of {name}", daemon=True)
        self._source_name = name
        self._capture = capture
        self._connect = connect
        self._queue = queue
        self._stride = stride
        self._reconnect = reconnect
        self._failed_attempts = 0  # since the last frame

    def run(self) -> None:
        """Read until the source ends or the queue is closed."""
        try:
            for frame in self._frames():
                if not self._queue.put(frame):
                    break
        except Exception as error:  # of any kind: it is raised again in the consumer's thread
            self._queue.end(error)
        else:
            self._queue.end()

    def _frames(self) -> Iterator[Frame]:
        capture = self._capture
        live = capture.live
        clock = _FrameClock(capture)
        number = 0
        while True:
            error: DataError | None = None
            try:
                with closing(capture):
                    for time_in_source, to_image in capture.frames():
                        self._failed_attempts = 0
                        timestamp = clock.timestamp(time_in_source)
                        if number % self._stride == 0:
                            yield Frame(number, timestamp, to_image())
                        number += 1
                        if self._queue.closed:
                            return
            except DataError as caught:
                error = caught
            if not live:
                if error:
                    raise error
                return
            if not self._reconnect.attempts:
                _log.warning("%s", error or f"{self._source_name}: the stream ended")
                return
            connected = self._connect_again(error or DataError(f"{self._source_name}: the stream ended"))
            if connected is None:
                return
            capture = connected
            clock.restart()

    def _connect_again(self, error: DataError) -> Capture | None:
        """Reconnect; None if the queue is closed meanwhile. Raises DataError after the last attempt."""
        while self._failed_attempts < self._reconnect.attempts:
            delay = self._reconnect.delay(self._failed_attempts)
            self._failed_attempts += 1
            _log.warning(
                "%s; attempt %d of %d in %.1f s", error, self._failed_attempts, self._reconnect.attempts, delay
            )
            self._queue.sleep(delay)
            if self._queue.closed:
                return None
            try:
                return self._connect()
            except DataError as caught:
                error = caught
        raise DataError(f"{error}; given up after {self._failed_attempts} attempts")


class _FrameClock:
    """Monotonic seconds since the first frame, across reconnections and for sources without timestamps."""

    def __init__(self, capture: Capture) -> None:
        self._live = capture.live
        self._frame_duration = float(1 / capture.fps)
        self._last = -self._frame_duration
        self._started: float | None = None
        self._offset: float | None = None  # what to subtract from the source's time

    def timestamp(self, time_in_source: float | None) -> float:
        """Return the timestamp of the next frame; ``time_in_source``: its time by the source's own clock."""
        now = time.monotonic()
        self._started = now if self._started is None else self._started
        elapsed = now - self._started if self._live else self._last + self._frame_duration
        if time_in_source is not None:
            if self._offset is None:  # a source's clock starts anywhere, and elsewhere after a reconnection
                self._offset = time_in_source - elapsed
            elapsed = time_in_source - self._offset
        self._last = max(self._last, elapsed)
        return self._last

    def restart(self) -> None:
        """Expect the source's clock to start at another value."""
        self._offset = None
