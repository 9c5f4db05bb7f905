"""Where frames come from: files and network streams through PyAV, cameras through OpenCV.

A ``Capture`` gives each frame's time and a function that makes the image, so that a frame nobody wants
costs no conversion. Frames are turned as the file says, as every player does, and unlike images with EXIF.
"""

from __future__ import annotations

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
from ..images.reading import ImageArray

if TYPE_CHECKING:
    import av

VIDEOS = (
    *(".3gp", ".asf", ".avi", ".flv", ".h264", ".h265", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_CAMERA = re.compile(r"\d+|/dev/video\d+")
_TROUBLE = 100  # broken packets in a row before a stream is given up

Shot = tuple[float | None, Callable[[], ImageArray]]


class Capture(Protocol):
    """A source of frames that has been opened.

    ``live``: it has no end, and waits for nobody. ``rate``: frames a second. ``count``: frames, 0: unknown.
    """

    live: bool
    rate: Fraction
    count: int

    def shots(self) -> Iterator[Shot]:
        """Each frame's time in seconds, None where it has none, and what makes its image. Raises DataError."""
        ...

    def close(self) -> None:
        """Let the file, the connection or the camera go."""
        ...


def is_video(name: str) -> bool:
    """Whether a name is a camera's, an address, or a file's or pattern's with the suffix of a video."""
    return is_camera(name) or is_address(name) or pathlib.PurePath(name).suffix.lower() in VIDEOS


def is_camera(name: str) -> bool:
    """Whether a name is the number of a camera (and no file is called so) or its device, ``/dev/video0``."""
    return bool(_CAMERA.fullmatch(name)) and (name.startswith("/dev/") or not os.path.exists(name))


def is_address(name: str) -> bool:
    """Whether a name is an address such as ``rtsp://camera/stream``."""
    return bool(_ADDRESS.match(name))


def opened(name: str, *, timeout: float, options: Mapping[str, str]) -> Capture:
    """Open a source; ``timeout``: seconds to wait for a network. ``options``: FFmpeg's. Raises DataError."""
    return Camera(name) if is_camera(name) else Decoded(name, timeout, options)


def needed(package: str, what: str) -> Any:
    """The optional module ``package``. Raises DataError that names the extra where it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        name = {"av": "PyAV", "cv2": "OpenCV"}[package]
        raise DataError(f"{what} needs {name}: pip install 'darknet-torch[video]'") from error


class Decoded:
    """A file or a stream, decoded by PyAV."""

    def __init__(self, name: str, timeout: float, options: Mapping[str, str]) -> None:
        self._av = needed("av", f"{name}: reading a video")
        self._name = name
        remote = is_address(name)
        # "file:" keeps a colon in a file's name from being taken for a protocol.
        target, wait = (name, timeout) if remote else (f"file:{name}", None)
        try:
            self._container: av.container.InputContainer = self._av.open(
                target, timeout=wait, options={**_defaults(name), **options}
            )
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        if not self._container.streams.video:
            self._container.close()
            raise DataError(f"{name}: expected a video, found no images in it")
        self._stream = self._container.streams.video[0]
        self.live = remote and self._container.duration is None
        # Threads that decode a frame each hold frames back, which only a file can afford.
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        self.rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        self.count = self._stream.frames

    def shots(self) -> Iterator[Shot]:
        """Frames in the order of their display; packets that are broken are left out, as after lost packets."""
        broken, error_type = 0, self._av.error.FFmpegError
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except self._av.error.InvalidDataError:
                    broken += 1
                    if broken > _TROUBLE:
                        raise
                    continue
                broken = 0 if frames else broken
                for frame in frames:
                    yield frame.time, partial(_image, frame)
        except (error_type, OSError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()

    def _failed(self, error: BaseException) -> DataError:
        if isinstance(error, self._av.error.InvalidDataError):
            return DataError(f"{self._name}: not a video that FFmpeg reads, or a broken one")
        if isinstance(error, self._av.error.ExitError):
            return DataError(f"{self._name}: no answer in time")
        return DataError(f"{self._name}: {getattr(error, 'strerror', None) or error}")


def _defaults(name: str) -> dict[str, str]:
    """FFmpeg's options for an address: over TCP nothing gets lost, and a file goes on where it broke off."""
    scheme = name.partition("://")[0].lower()
    if scheme in ("rtsp", "rtsps"):
        return {"rtsp_transport": "tcp"}
    if scheme in ("http", "https"):
        return {"reconnect": "1", "reconnect_delay_max": "5"}
    return {}


def _image(frame: Any) -> ImageArray:
    image: ImageArray = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class Camera:
    """A camera of this machine, by OpenCV: PyAV's packages have no access to cameras on every system."""

    live = True
    count = 0

    def __init__(self, name: str) -> None:
        cv2 = needed("cv2", f"camera {name}")
        self._name = name
        self._device = cv2.VideoCapture(int(name) if name.isdecimal() else name)
        if not self._device.isOpened():
            raise DataError(f"camera {name}: there is none, or it is in use")
        self.rate = Fraction(self._device.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)

    def shots(self) -> Iterator[Shot]:
        """Frames as they come; they have no time of their own."""
        while True:
            good, frame = self._device.read()
            if not good:
                raise DataError(f"camera {self._name}: gives no more images")
            yield None, partial(np.ascontiguousarray, frame[:, :, ::-1])

    def close(self) -> None:
        """Let the camera go."""
        self._device.release()
