"""``VideoWriter``: images to a video that every player plays, whole or not at all.

H.264 where FFmpeg has an encoder for it, else MPEG-4. Every frame keeps its own time, so a source that lost
frames or has an uneven rate plays as fast as it was. An .avi, which Darknet's users ask for, has one rate and
MPEG-4: there a frame is shown at the nearest tick of that rate.
"""

from __future__ import annotations

import pathlib
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..files import replacing
from ..images.reading import ImageArray
from .capture import needed

FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}

_CODECS = ("libx264", "libopenh264", "mpeg4")
_TICKS = 60000  # a second: whole numbers for 24, 25, 30, 50 and 60 frames and 1001sts, and MPEG-4 takes no more


class VideoWriter:
    """A video that is written inside a ``with`` block and becomes ``path`` when the block ends well.

    ``rate``: frames a second, as players show it. Without a frame there is no file. Raises DataError for a
    suffix that is none of ``FORMATS``, for a file that cannot be written, and without PyAV.
    """

    def __init__(self, path: StrPath, rate: Fraction) -> None:
        self.path, self.rate = pathlib.Path(path), rate
        if self.path.suffix.lower() not in FORMATS:
            raise DataError(f"{self.path}: expected a video's name that ends in {', '.join(FORMATS)}")
        self._av = needed("av", f"{self.path}: writing a video")
        self._open = ExitStack()
        self._container: Any = None  # and its stream: made when the first image says how large
        self._stream: Any = None
        self._even = self.path.suffix.lower() == ".avi"
        self._tick = 1 / Fraction(rate) if self._even else Fraction(1, _TICKS)  # seconds
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._open:
            if error is not None:
                raise error
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                self._container.close()

    def add(self, image: ImageArray, timestamp: float) -> None:
        """Write an image [height, width, 3] of uint8 in RGB order, shown at ``timestamp`` in seconds.

        The first one's size is the video's, with one more row or column where it is odd; others are scaled to it.
        """
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._container is None:
            self._begin(*even.shape[:2])
        frame = self._av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        frame.pts = self._last = max(self._last + 1, round(timestamp / self._tick))
        frame.time_base = self._tick
        self._container.mux(self._stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        try:
            file = self._open.enter_context(replacing(self.path))
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from error
        self._container = self._av.open(file, "w", format=FORMATS[self.path.suffix.lower()])
        self._stream = self._container.add_stream(self._codec(), rate=self.rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = self._tick
        # x264 aims at a quality by itself; the others need a number of bits, and a fifth for a pixel is plenty.
        self._stream.bit_rate = 0 if self._stream.name == "libx264" else int(width * height * self.rate / 5)

    def _codec(self) -> str:
        """The first encoder that this FFmpeg has."""
        for name in _CODECS[-1:] if self._even else _CODECS:
            try:
                self._av.codec.Codec(name, "w")
            except self._av.codec.codec.UnknownCodecError:
                continue
            return name
        raise DataError(f"{self.path}: this FFmpeg writes neither H.264 nor MPEG-4")
