"""Frames of a video, a camera or a stream, one by one, and what a detector finds on them.

A thread reads ahead into a bounded queue, so memory does not grow however slow the reader is. What has an
end waits for its reader, and every frame comes. What is live does not wait: unless told otherwise its newest
frame comes next and those before it are dropped, so that what is seen is never older than the work on a frame.
"""

from __future__ import annotations

import collections
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, Self

from ..errors import DataError
from ..images.reading import ImageArray, Source
from . import capture
from .capture import Capture
from .frame_queue import Frame, Queue, Reader

if TYPE_CHECKING:
    from ..results.results import Results

__all__ = ["Detecting", "Frame", "VideoReader", "frames", "stream"]


class Detecting(Protocol):
    """What finds boxes on images: a ``Detector``, or ``tiling.Tiled``."""

    def stream(self, sources: Iterable[Source], *, workers: int = 1) -> Iterator[Results]:
        """Results one by one."""
        ...


def frames(
    source: str | os.PathLike[str] | int,
    *,
    latest: bool | None = None,
    stride: int = 1,
    depth: int = 4,
    reconnect: int = 10,
    backoff: float = 0.5,
    timeout: float = 10.0,
    options: Mapping[str, str] | None = None,
) -> VideoReader:
    """Open a video file, a camera (its number or ``/dev/video0``) or an address, and read ahead.

    ``latest``: give the newest frame and drop those before it, else every one; None: the newest of what is
    live. ``stride``: give the frames 0, stride, 2 stride, ... . ``depth``: frames that wait in the queue.
    ``reconnect``: attempts in a row to get back what is live and broke off, the first after ``backoff`` seconds,
    each next one after twice that; 0: what is live may end. ``timeout``: seconds to wait for the network.
    ``options``: FFmpeg's, such as ``{"rtsp_transport": "udp"}``. Raises DataError, at once for what cannot be
    opened, from the iterator for what breaks later.
    """
    for word, value, least in (("stride", stride, 1), ("depth", depth, 1), ("reconnect", reconnect, 0)):
        if value < least:
            raise DataError(f"{word}: expected {least} or more, got {value}")
    name = os.fspath(source) if isinstance(source, os.PathLike) else str(source)

    def connect() -> Capture:
        return capture.opened(name, timeout=timeout, options=options or {})

    first = connect()
    queue = Queue(depth, dropping=first.live if latest is None else latest)
    return VideoReader(name, first, queue, Reader(name, connect, queue, stride, reconnect, backoff))


def stream(detector: Detecting, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Results]]:
    """Each frame with what ``detector`` finds on it, its ``batch`` frames at a time."""
    waiting: collections.deque[Frame] = collections.deque()

    def images() -> Iterator[ImageArray]:
        for frame in frames:
            waiting.append(frame)
            yield frame.image

    # No workers: what they take ahead would be old when its turn comes.
    for result in detector.stream(images(), workers=0):
        yield waiting.popleft(), result


class VideoReader(Iterator[Frame]):
    """The frames of an open source, see ``frames``; ends with a ``with`` block, with ``close`` or when forgotten.

    ``live``: it has no end. ``rate``: frames a second. ``count``: how many there are, 0: unknown.
    """

    def __init__(self, name: str, first: Capture, queue: Queue, reader: Reader) -> None:
        self.name, self.live, self.rate, self.count = name, first.live, first.rate, first.count
        self._queue = queue
        self._thread = threading.Thread(target=reader.run, args=(first,), name=f"frames of {name}", daemon=True)
        # The thread holds the queue and not the feed, so that a feed nobody has any more ends it.
        weakref.finalize(self, queue.close)
        self._thread.start()

    def __next__(self) -> Frame:
        frame = self._queue.take()
        if frame is None:
            raise StopIteration
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Let there be no further frame; a signal handler may call this."""
        self._queue.close()

    def close(self) -> None:
        """Stop and wait for the thread, but not for a network that does not answer."""
        self.stop()
        self._thread.join(timeout=1)
