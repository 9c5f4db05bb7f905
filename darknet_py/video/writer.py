"""``VideoWriter``: encode images to a video file that common players open; a failed run leaves no file.

H.264 if FFmpeg has an encoder for it, else MPEG-4. Every frame keeps its own timestamp, so a source with dropped
frames or a variable frame rate plays at its original speed. An .avi, the format of Darknet's demo, has a constant
frame rate and MPEG-4: each timestamp is rounded to a multiple of the frame duration.
"""

from __future__ import annotations

import pathlib
from contextlib import ExitStack, suppress
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..files import atomic_write
from ..images.reading import ImageArray
from .capture import import_video_package

FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}

_CODECS = ("libx264", "libopenh264", "mpeg4")
_TIME_BASE = 60000  # per second: exact for 24, 25, 30, 50, 60 and n / 1.001 fps; MPEG-4 allows at most 65535


class _Discard(Exception):
    """Ends the writing of a file that is not to be kept."""


class VideoWriter:
    """Writes a video inside a ``with`` block; the file appears at ``path`` if the block ends without an exception.

    Args:
        path: the file, with a suffix of ``FORMATS``.
        fps: nominal frames per second.

    Raises:
        DataError: the suffix is unknown, the file cannot be written, or PyAV is not installed.

    No file is written without a frame.
    """

    def __init__(self, path: StrPath, fps: Fraction) -> None:
        self.path = pathlib.Path(path)
        self.fps = fps
        suffix = self.path.suffix.lower()
        if suffix not in FORMATS:
            raise DataError(f"{self.path}: expected a file name that ends in {', '.join(FORMATS)}")
        self._av = import_video_package("av", f"{self.path}: writing a video")
        self._resources = ExitStack()
        self._container: Any = None  # opened with the first frame, which decides the size
        self._stream: Any = None
        self._constant_rate = suffix == ".avi"
        self._tick = 1 / Fraction(fps) if self._constant_rate else Fraction(1, _TIME_BASE)  # seconds
        self._last_tick = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(_Discard), self._resources:
            if error is not None:
                raise _Discard
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                self._container.close()

    def write(self, image: ImageArray, timestamp: float) -> None:
        """Encode one frame.

        Args:
            image: uint8 [height, width, 3], RGB. The first image sets the size of the video, padded to even height
                and width; later ones are resized to it.
            timestamp: seconds from the start of the video.
        """
        height, width = image.shape[:2]
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._container is None:
            self._open(*padded.shape[:2])
        frame = self._av.VideoFrame.from_ndarray(padded, format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        frame.pts = self._last_tick = max(self._last_tick + 1, round(timestamp / self._tick))
        frame.time_base = self._tick
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:  # a full disk; FFmpeg's own errors are of this type too
            raise DataError(f"{self.path}: {error.strerror or error}") from error

    def _open(self, height: int, width: int) -> None:
        file = self._resources.enter_context(atomic_write(self.path))
        self._container = self._av.open(file, "w", format=FORMATS[self.path.suffix.lower()])
        self._stream = self._container.add_stream(self._codec(), rate=self.fps)
        self._stream.width = width
        self._stream.height = height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._tick
        # libx264 has a quality target by default; the others need a bit rate: 0.2 bits per pixel.
        self._stream.bit_rate = 0 if self._stream.name == "libx264" else int(width * height * self.fps / 5)

    def _codec(self) -> str:
        """Name of the first encoder that this build of FFmpeg has."""
        for name in _CODECS[-1:] if self._constant_rate else _CODECS:
            try:
                self._av.codec.Codec(name, "w")
            except self._av.codec.codec.UnknownCodecError:
                continue
            return name
        raise DataError(f"{self.path}: this FFmpeg has no encoder for H.264 or MPEG-4")
