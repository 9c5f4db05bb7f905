"""Open video sources: files and network streams with PyAV, cameras with OpenCV.

A ``Capture`` yields the time of each frame and a function that converts the frame to an image, so that a dropped
frame costs no conversion. Frames are rotated by the video's display matrix, as in players; an image's EXIF
orientation is not applied (see ``images.reading``).
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import DataError
from ..images.reading import ImageArray, check_size

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".h264", ".h265", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_CAMERA = re.compile(r"\d+|/dev/video\d+")
_MAX_BROKEN_PACKETS = 100  # in a row, before a stream is given up
_PADDING = 2  # of max_pixels

# Time of a frame in seconds (None if the source has no timestamps), and a function that returns its image.
LazyFrame = tuple[float | None, Callable[[], ImageArray]]


class Capture(Protocol):
    """An open video source.

    Attributes:
        live: True for a camera or a stream without an end.
        fps: frames per second.
        frame_count: number of frames; 0 if unknown.
    """

    live: bool
    fps: Fraction
    frame_count: int

    def frames(self) -> Iterator[LazyFrame]:
        """Yield each frame. Raises DataError if reading fails."""
        ...

    def close(self) -> None:
        """Release the file, the connection or the camera."""
        ...


def is_video(name: str) -> bool:
    """Whether a name is a camera, a URL, or a file or pattern with the suffix of a video."""
    return is_camera(name) or is_url(name) or pathlib.PurePath(name).suffix.lower() in VIDEO_SUFFIXES


def is_camera(name: str) -> bool:
    """Whether a name is a camera's number (unless a file of that name exists) or its device, ``/dev/video0``."""
    return bool(_CAMERA.fullmatch(name)) and (name.startswith("/dev/") or not os.path.exists(name))


def is_url(name: str) -> bool:
    """Whether a name is a URL such as ``rtsp://camera/stream``."""
    return bool(_URL.match(name))


def open_capture(name: str, *, timeout: float, options: Mapping[str, str], max_pixels: int) -> Capture:
    """Open a video source.

    Args:
        name: a camera, a file or a URL.
        timeout: seconds to wait for a network connection.
        options: FFmpeg's options, for example ``{"rtsp_transport": "udp"}``.
        max_pixels: refuse files and streams whose frames have more pixels.

    Raises:
        DataError: the source cannot be opened, or the package that reads it is not installed.
    """
    return CameraCapture(name) if is_camera(name) else PyAVCapture(name, timeout, options, max_pixels)


def import_video_package(package: str, purpose: str) -> Any:
    """Import ``av`` or ``cv2``. Raises DataError that names the extra to install if it is missing."""
    try:
        return import_module(package)
    except ImportError as error:
        name = {"av": "PyAV", "cv2": "OpenCV"}[package]
        raise DataError(f"{purpose} needs {name}: pip install 'darknet-torch[video]'") from error


class PyAVCapture:
    """A file or a stream, decoded by PyAV."""

    def __init__(self, name: str, timeout: float, options: Mapping[str, str], max_pixels: int) -> None:
        self._av = import_video_package("av", f"{name}: reading a video")
        self._name = name
        self._max_pixels = max_pixels
        remote = is_url(name)
        # "file:" prevents a file name with a colon from being parsed as a protocol.
        target, connect_timeout = (name, timeout) if remote else (f"file:{name}", None)
        try:
            self._container: av.container.InputContainer = self._av.open(
                target,
                timeout=connect_timeout,
                options={**_default_options(name), **options},
                metadata_errors="replace",  # titles in a code page
            )
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._data_error(error) from error
        if not self._container.streams.video:
            self._container.close()
            raise DataError(f"{name}: expected a video, found a file without a video stream")
        self._stream = self._container.streams.video[0]
        context = self._stream.codec_context
        if context is None:
            self._container.close()
            raise DataError(f"{name}: expected a video that FFmpeg decodes, found an unknown codec")
        try:
            check_size((context.width, context.height), max_pixels)
        except DataError as error:
            self._container.close()
            raise DataError(f"{name}: {error}") from error
        # The size may change later. FFmpeg counts what its decoders add to width and height.
        context.options = {"max_pixels": str(_PADDING * max_pixels)}
        self.live = remote and self._container.duration is None
        # Frame threading delays frames by the number of threads, which only a file can afford.
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        self.fps = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        self.frame_count = self._stream.frames

    def frames(self) -> Iterator[LazyFrame]:
        """Yield frames in display order; broken packets, such as after packet loss, are skipped."""
        broken = 0
        ffmpeg_error = self._av.error.FFmpegError
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except self._av.error.InvalidDataError:
                    broken += 1
                    if broken > _MAX_BROKEN_PACKETS:
                        raise
                    continue
                broken = 0 if frames else broken
                for frame in frames:
                    yield frame.time, partial(_to_image, frame)
        except (ffmpeg_error, OSError) as error:
            raise self._data_error(error) from error

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()

    def _data_error(self, error: BaseException) -> DataError:
        if isinstance(error, self._av.error.InvalidDataError):
            return DataError(f"{self._name}: not a video in a format that FFmpeg reads, or a broken one")
        if isinstance(error, self._av.error.ExitError):
            return DataError(f"{self._name}: the connection timed out")
        if getattr(error, "errno", None) == errno.ENOMEM:  # which FFmpeg also gives for its max_pixels
            limit = f"the limit of {self._max_pixels:,} (max_pixels=, --max-pixels)"
            return DataError(f"{self._name}: a frame has more pixels than {limit}, or needs more memory than there is")
        return DataError(f"{self._name}: {getattr(error, 'strerror', None) or error}")


def _default_options(name: str) -> dict[str, str]:
    """FFmpeg's options for a URL: RTSP over TCP loses no packets, and HTTP resumes a broken download."""
    scheme = name.partition("://")[0].lower()
    if scheme in ("rtsp", "rtsps"):
        return {"rtsp_transport": "tcp"}
    if scheme in ("http", "https"):
        return {"reconnect": "1", "reconnect_delay_max": "5"}
    return {}


def _to_image(frame: Any) -> ImageArray:
    image: ImageArray = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


class CameraCapture:
    """A local camera, read by OpenCV: PyAV's wheels cannot open cameras on every system."""

    live = True
    frame_count = 0

    def __init__(self, name: str) -> None:
        cv2 = import_video_package("cv2", f"camera {name}")
        self._name = name
        self._device = cv2.VideoCapture(int(name) if name.isdecimal() else name)
        if not self._device.isOpened():
            raise DataError(f"camera {name}: not found, or in use by another program")
        self.fps = Fraction(self._device.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)

    def frames(self) -> Iterator[LazyFrame]:
        """Yield frames as they arrive, without timestamps."""
        while True:
            ok, frame = self._device.read()
            if not ok:
                raise DataError(f"camera {self._name}: stopped sending frames")
            yield None, partial(np.ascontiguousarray, frame[:, :, ::-1])

    def close(self) -> None:
        """Release the camera."""
        self._device.release()
