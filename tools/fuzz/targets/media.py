"""Images and videos."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from fractions import Fraction

from .base import Target


class Images(Target):
    """An image in one of the usual formats, or an array."""

    cases = 10_000

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """One image of 40 x 30 pixels in each format."""
        import numpy as np
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
        image = Image.fromarray(pixels)
        paths = []
        for suffix in (".png", ".jpg", ".bmp", ".gif", ".tif", ".webp", ".ppm"):
            paths.append(self.folder / f"seed{suffix}")
            image.save(paths[-1])
        np.save(self.folder / "seed.npy", pixels)
        return [*paths, self.folder / "seed.npy"]

    def read(self, path: pathlib.Path) -> None:
        """Read it in colour and in grey."""
        from darknet_py.images.reading import read_image

        for channels in (3, 1):
            read_image(path, channels)


class Video(Target):
    """A video in one of two containers."""

    cases = 10_000

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """Five frames."""
        import numpy as np

        from darknet_py.video.writer import VideoWriter

        paths = [self.folder / f"seed{suffix}" for suffix in (".mp4", ".avi")]
        for path in paths:
            with VideoWriter(path, Fraction(25)) as video:
                for i in range(5):
                    video.write(np.full((32, 48, 3), 40 * i, np.uint8), i / 25)
        return paths

    def read(self, path: pathlib.Path) -> None:
        """Read all frames."""
        from darknet_py.video.reader import open_video

        with open_video(path) as frames:
            for _ in frames:
                pass
