"""``VideoFeed``: the frames of a video, detected and sent to all who listen.

A file is played at its own speed, again and again; of a camera or a stream the newest frame is taken. The network
computes frames only while somebody listens, among the images of other requests. A listener that is slow misses frames.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from ..errors import DarknetError, DataError
from ..messages import get_logger
from ..results.results import Results
from ..video.reader import Frame, VideoReader
from .batcher import QueueFullError

_log = get_logger(__name__)
_QUALITY = 80  # of a JPEG
_LATE = 0.1  # seconds after which a frame of a file is left out
_POLL = 0.2  # seconds


class DetectedFrame:
    """A frame of the video with its detections.

    Args:
        frame: the frame.
        results: its detections.
    """

    def __init__(self, frame: Frame, results: Results) -> None:
        results.orig_img = frame.image
        self._frame = frame
        self._results = results

    @functools.cached_property
    def jpeg(self) -> bytes:
        """The frame with its boxes."""
        content = io.BytesIO()
        self._results.plot().save(content, "jpeg", quality=_QUALITY)
        return content.getvalue()

    @functools.cached_property
    def event(self) -> str:
        """The detections as JSON in one line, as those of ``detect --jsonl``."""
        position = {"index": self._frame.number, "timestamp": round(self._frame.timestamp, 6)}
        return json.dumps(self._results.to_dict(**position))


class _Listener(NamedTuple):
    """Where a frame is put: the newest one, or None at the end of the video."""

    loop: asyncio.AbstractEventLoop
    newest: asyncio.Queue[DetectedFrame | None]
    with_image: bool

    def send(self, frame: DetectedFrame | None) -> None:
        """Put a frame, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._put, frame)
        except RuntimeError:  # the loop is closed
            return

    def _put(self, frame: DetectedFrame | None) -> None:
        if self.newest.full():
            self.newest.get_nowait()
        self.newest.put_nowait(frame)


class VideoFeed:
    """The frames of a video, detected by another thread and sent to all who listen.

    Args:
        open_video: opens the video; called again when a file has ended.
        detect: returns the detections of a frame; raises DarknetError if it cannot.
        max_listeners: most who listen at once.

    Raises:
        DataError: the video cannot be opened.
    """

    def __init__(
        self, open_video: Callable[[], VideoReader], detect: Callable[[Frame], Results], max_listeners: int
    ) -> None:
        self._open = open_video
        self._detect = detect
        self._max_listeners = max_listeners
        self._listeners: set[_Listener] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._video = open_video()
        self._thread: threading.Thread | None = None  # started by the first listener

    async def listen(self, *, with_image: bool) -> AsyncIterator[DetectedFrame]:
        """Yield the newest frame again and again, until the video or the feed ends.

        Args:
            with_image: draw each frame before it is sent, in the thread of the feed.
        """
        listener = _Listener(asyncio.get_running_loop(), asyncio.Queue(1), with_image)
        self._add(listener)
        try:
            while (frame := await listener.newest.get()) is not None:
                yield frame
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def require_place(self) -> None:
        """Raise QueueFullError if no further one may listen."""
        if len(self._listeners) >= self._max_listeners:
            raise QueueFullError(f"{self._max_listeners} receive the video already, which is the limit")

    def _add(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.add(listener)
            if self._closed.is_set():
                listener.send(None)
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="video", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """End the video for all who listen."""
        self._closed.set()
        self._video.stop()
        self._send(None)

    def close(self) -> None:
        """End the video, and wait for its thread."""
        self.end()
        if self._thread is not None:
            self._thread.join()
        self._video.close()

    def _send(self, frame: DetectedFrame | None) -> None:
        with self._lock:
            listeners = list(self._listeners)
        if frame is not None and any(each.with_image for each in listeners):
            frame.jpeg  # noqa: B018 (drawn here, and not in the event loop)
        for listener in listeners:
            listener.send(frame)

    def _run(self) -> None:
        try:
            for frame in self._frames():
                if not self._listeners:
                    continue
                try:
                    results = self._detect(frame)
                except QueueFullError:
                    continue
                self._send(DetectedFrame(frame, results))
        except Exception as error:  # of any kind: those who listen get the end
            if not self._closed.is_set():
                _log.warning("the video ends: %s", error, exc_info=not isinstance(error, DarknetError))
        finally:
            self._closed.set()
            self._send(None)

    def _frames(self) -> Iterator[Frame]:
        while not self._closed.is_set():
            with self._video as video:
                yield from video if video.live else self._at_its_speed(video)
            if video.live:
                raise DataError(f"{video.name}: the stream has ended")
            if not self._closed.is_set():
                self._video = self._open()

    def _at_its_speed(self, video: VideoReader) -> Iterator[Frame]:
        """The frames of a file when they are due; those that are late are left out. It pauses if nobody listens.

        Raises:
            DataError: the file has no frames.
        """
        start = time.monotonic()
        end = None
        for frame in video:
            paused = time.monotonic()
            while not self._listeners and not self._closed.wait(_POLL):
                pass
            start += time.monotonic() - paused
            early = start + frame.timestamp - time.monotonic()
            if early > 0 and self._closed.wait(early):
                return
            if early > -_LATE or frame.number == 0:
                yield frame
            end = start + frame.timestamp + 1 / float(video.fps)
        if end is not None:
            self._closed.wait(max(0.0, end - time.monotonic()))
        elif not self._closed.is_set():
            raise DataError(f"{video.name}: expected a video with frames, found none")
