"""A synthetic video of digits that move along straight lines, with the places where they are."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from darknet_py.demo import digits
from darknet_py.images.reading import ImageArray

SIDE = 96
FPS = Fraction(25)
PAPER, INK = np.array([214, 206, 190]), np.array([40, 44, 92])


@dataclass(frozen=True)
class Mover:
    """A digit of 28 x 28 pixels, its centre in frame 0, and its movement per frame, in pixels."""

    digit: int
    start: tuple[float, float]
    step: tuple[float, float]

    def centre(self, frame: int) -> tuple[float, float]:
        return self.start[0] + frame * self.step[0], self.start[1] + frame * self.step[1]


CROSSING = (Mover(3, (14, 22), (1.5, 0)), Mover(8, (82, 70), (-1.5, 0)))  # along two rows, in opposite directions
MEETING = (Mover(3, (14, 40), (2, 0)), Mover(8, (82, 56), (-2, 0)))  # one partly covers the other in the middle


def render(movers: tuple[Mover, ...], frame: int, pillar: tuple[int, int] | None = None) -> ImageArray:
    """A frame: uint8 [96, 96, 3]; later digits cover earlier ones. ``pillar``: columns that something covers."""
    samples = digits.load_samples()["valid"]
    canvas = np.tile(PAPER, (SIDE, SIDE, 1)).astype(float)
    for mover in movers:
        sample = Image.fromarray(np.uint8(samples[mover.digit][3] * 255)).resize((28, 28), Image.Resampling.BICUBIC)
        ink = np.clip((np.asarray(sample) / 255 - 0.35) / 0.25, 0, 1)[..., None]
        x, y = (round(value) - 14 for value in mover.centre(frame))
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + 28, SIDE), min(y + 28, SIDE)
        if left < right and top < bottom:
            part = ink[top - y : bottom - y, left - x : right - x]
            region = canvas[top:bottom, left:right]
            region += (INK - region) * part
    if pillar is not None:
        canvas[:, pillar[0] : pillar[1]] = (120, 130, 120)
    pixels: ImageArray = np.rint(canvas).astype(np.uint8)
    return pixels


def write_video(path: pathlib.Path, movers: tuple[Mover, ...], frames: int) -> pathlib.Path:
    """Write the frames to a video file."""
    from darknet_py.video.writer import VideoWriter

    with VideoWriter(path, FPS) as video:
        for frame in range(frames):
            video.write(render(movers, frame), float(frame / FPS))
    return path
