"""A short video that tests make: a white rectangle that walks to the right, 2 pixels a frame, on dark ground."""

from __future__ import annotations

import pathlib
import threading
import time
from fractions import Fraction

import numpy as np

from darknet_py.images.reading import ImageArray
from darknet_py.video.writer import VideoWriter

RATE = Fraction(25)


def image(number: int, width: int = 96, height: int = 64) -> ImageArray:
    """Frame ``number`` of the clip."""
    pixels = np.full((height, width, 3), 16, np.uint8)
    pixels[20:40, 2 * number : 2 * number + 16] = 235
    return pixels


def place(pixels: ImageArray) -> float:
    """Which frame of the clip an image is, by the middle of its rectangle."""
    columns = np.flatnonzero(pixels[30, :, 0] > 128)
    return float(columns.mean() - 7.5) / 2


def write(path: pathlib.Path, count: int = 20, rate: Fraction = RATE, **size: int) -> pathlib.Path:
    """Write the clip's first ``count`` frames."""
    with VideoWriter(path, rate) as video:
        for number in range(count):
            video.add(image(number, **size), float(number / rate))
    return path


def transport(path: pathlib.Path, count: int) -> bytes:
    """The clip as an MPEG transport stream, which is what cameras send: it starts anywhere and has no length."""
    import av

    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate, stream.codec_context.gop_size = 2_000_000, 5
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image(number), format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def no_thread_is_left() -> bool:
    """Whether every thread that read frames has ended, or does within two seconds."""
    for _ in range(100):
        if not any(thread.name.startswith("frames of") for thread in threading.enumerate()):
            return True
        time.sleep(0.02)
    return False
