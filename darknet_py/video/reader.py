"""Read the frames of a video, a camera or a stream, and run a detector on them.

A thread reads ahead into a bounded queue, so memory use does not depend on how slow the consumer is. A file waits
for its consumer, and every frame is returned. A live source does not wait: by default the newest frame is returned
and older ones are dropped, so that a result is never older than the time to process one frame.
"""

from __future__ import annotations

import collections
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, Self

from ..errors import DataError
from ..images.limits import MAX_PIXELS
from ..images.reading import ImageArray, ImageSource
from .capture import Capture, open_capture
from .frame_queue import Frame, FrameQueue, FrameReaderThread, ReconnectPolicy

if TYPE_CHECKING:
    from .._typing import StrPath
    from ..results.results import Results

__all__ = ["Frame", "ImageDetector", "VideoReader", "detect_video", "open_video"]


class ImageDetector(Protocol):
    """A detector for a stream of images: ``Detector`` or ``tiling.Tiled``."""

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        workers: int | None = None,
        on_error: Callable[[DataError], object] | None = None,
    ) -> Iterator[Results]:
        """Yield the results of each image; see ``Detector.stream``."""
        ...


class VideoReader(Iterator[Frame]):
    """Iterator over the frames of an open video source; made by ``open_video``.

    The source is closed at the end of a ``with`` block, by ``close`` or when the reader is garbage-collected.

    Attributes:
        name: the path, URL or camera.
        live: True for a camera or a stream without an end.
        fps: frames per second.
        frame_count: number of frames in the source; 0 if unknown.
    """

    def __init__(self, name: str, capture: Capture, queue: FrameQueue, thread: FrameReaderThread) -> None:
        self.name = name
        self.live = capture.live
        self.fps = capture.fps
        self.frame_count = capture.frame_count
        self._queue = queue
        self._thread = thread
        weakref.finalize(self, queue.close)
        self._thread.start()

    def __next__(self) -> Frame:
        frame = self._queue.get()
        if frame is None:
            raise StopIteration
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """End the iteration; safe to call from a signal handler."""
        self._queue.close()

    def close(self) -> None:
        """Stop, and wait for the thread to end, for a second at most if the network does not respond."""
        self.stop()
        self._thread.join(timeout=1)


def open_video(
    source: StrPath | int,
    *,
    latest: bool | None = None,
    stride: int = 1,
    depth: int = 4,
    reconnect: int = 10,
    backoff: float = 0.5,
    timeout: float = 10.0,
    options: Mapping[str, str] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> VideoReader:
    """Open a video and start to read ahead.

    Args:
        source: a file, a camera (its number or ``/dev/video0``) or a URL.
        latest: return the newest frame and drop older ones (True) or return every frame (False); by default
            the newest for a live source, every one otherwise.
        stride: return the frames 0, stride, 2 * stride, ...
        depth: frames that the queue holds.
        reconnect: consecutive attempts to reconnect a live source; 0: its end is the end of the video.
        backoff: seconds before the first attempt, doubled before each further one.
        timeout: seconds to wait for a network connection.
        options: FFmpeg's options, for example ``{"rtsp_transport": "udp"}``.
        max_pixels: refuse files and streams whose frames have more pixels.

    Returns:
        An iterator over the frames.

    Raises:
        DataError: the source cannot be opened. If reading fails later, the iterator raises it.
    """
    for argument, value, minimum in (("stride", stride, 1), ("depth", depth, 1), ("reconnect", reconnect, 0)):
        if value < minimum:
            raise DataError(f"{argument}: expected {minimum} or more, got {value}")
    name = os.fspath(source) if isinstance(source, os.PathLike) else str(source)

    def connect() -> Capture:
        return open_capture(name, timeout=timeout, options=options or {}, max_pixels=max_pixels)

    capture = connect()
    queue = FrameQueue(depth, latest=capture.live if latest is None else latest)
    thread = FrameReaderThread(name, capture, connect, queue, stride, ReconnectPolicy(reconnect, backoff))
    return VideoReader(name, capture, queue, thread)


def detect_video(detector: ImageDetector, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Results]]:
    """Run a detector on each frame, in its batches.

    Args:
        detector: a ``Detector`` or a ``Tiled`` one.
        frames: the frames, for example a ``VideoReader``.

    Yields:
        Each frame with its results.
    """
    pending: collections.deque[Frame] = collections.deque()

    def images() -> Iterator[ImageArray]:
        for frame in frames:
            pending.append(frame)
            yield frame.image

    # No workers: frames that they prefetch would be outdated by the time the network gets them.
    for result in detector.stream(images(), workers=0):
        yield pending.popleft(), result
