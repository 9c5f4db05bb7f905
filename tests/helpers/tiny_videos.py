"""A synthetic test video: a white rectangle on a dark background that moves right by 2 pixels per frame."""

from __future__ import annotations

import pathlib
import threading
import time
from fractions import Fraction

import numpy as np

from darknet_py.images.reading import ImageArray
from darknet_py.video.writer import VideoWriter

FPS = Fraction(25)


def render_frame(number: int, width: int = 96, height: int = 64) -> ImageArray:
    """Frame ``number`` of the video: uint8 [height, width, 3]."""
    pixels = np.full((height, width, 3), 16, np.uint8)
    pixels[20:40, 2 * number : 2 * number + 16] = 235
    return pixels


def frame_number(pixels: ImageArray) -> float:
    """The frame number of an image, from the position of its rectangle."""
    columns = np.flatnonzero(pixels[30, :, 0] > 128)
    return float(columns.mean() - 7.5) / 2


def write_video(path: pathlib.Path, count: int = 20, fps: Fraction = FPS, **size: int) -> pathlib.Path:
    """Write the first ``count`` frames to a file."""
    with VideoWriter(path, fps) as video:
        for number in range(count):
            video.write(render_frame(number, **size), float(number / fps))
    return path


def transport_stream(path: pathlib.Path, count: int, width: int = 96) -> bytes:
    """The video as an MPEG transport stream, as cameras send it: decodable from any point, without a length."""
    import av

    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
        stream.bit_rate, stream.codec_context.gop_size = 2_000_000, 5
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(render_frame(number, width), format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def reader_threads_have_ended() -> bool:
    """Whether all frame-reader threads end within two seconds."""
    for _ in range(100):
        if not any(thread.name.startswith("frames of") for thread in threading.enumerate()):
            return True
        time.sleep(0.02)
    return False
