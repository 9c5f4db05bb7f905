"""Effects that finished training images get and no Darknet has: a bilateral filter, and parts that are erased.

Images are float32 [channels, height, width] in 0..1. What is erased gets the mean colour of the image, or noise, so
that objects are recognised by other parts too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..cfg.net_section import Net
from .colour import FloatImage, bilateral_filter

Mask = npt.NDArray[np.bool_]

ERASED_AREA = (0.02, 0.4)  # of random erasing, relative to the image's; those of the paper
ERASED_ASPECT = (0.3, 1 / 0.3)  # height / width
PATCHES = (0, 16, 32, 44, 56)  # sides of hide-and-seek's patches in pixels; 0: nothing is hidden
GRID_UNITS = (96 / 224, 1.0)  # sides of GridMask's units, relative to the image's shorter side
_ERASE_TRIALS = 100


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Keys of ``[net]``; the default is no effect.

    Attributes:
        bilateral_blur: diameter in pixels of a filter that half of the images get; 0: none.
        random_erasing: probability that a rectangle is replaced by noise.
        cutout: side of the square that is erased, in pixels.
        hide_and_seek: probability that a patch is erased.
        grid_mask: probability that a grid of squares is erased.
        grid_mask_ratio: width of what is kept between the squares, relative to their distance.
    """

    bilateral_blur: int = 0
    random_erasing: float = 0.0
    cutout: int = 0
    hide_and_seek: float = 0.0
    grid_mask: float = 0.0
    grid_mask_ratio: float = 0.6

    @classmethod
    def from_cfg(cls, net: Net) -> Self:
        """Return the effects of a cfg."""
        return cls(**{name: getattr(net, name) for name in cls.__dataclass_fields__})

    def apply(self, image: FloatImage, rng: np.random.Generator) -> FloatImage:
        """Apply the effects to an image, float32 [channels, height, width]; the result may be the image itself."""
        if self.bilateral_blur and rng.integers(2):
            levels = bilateral_filter(image.transpose(1, 2, 0) * np.float32(255), self.bilateral_blur)
            image = np.ascontiguousarray(levels.transpose(2, 0, 1)) / np.float32(255)
        return self._erase(image, rng)

    def _erase(self, image: FloatImage, rng: np.random.Generator) -> FloatImage:
        height, width = image.shape[1:]
        erased = np.zeros((height, width), np.bool_)
        if self.cutout:
            erased |= sample_cutout(height, width, self.cutout, rng)
        if self.hide_and_seek:
            erased |= sample_hidden_patches(height, width, self.hide_and_seek, rng)
        if self.grid_mask and rng.random() < self.grid_mask:
            erased |= sample_grid(height, width, self.grid_mask_ratio, rng)
        out = image
        if erased.any():
            out = np.where(erased, image.mean(axis=(1, 2), keepdims=True), image)
        if self.random_erasing and rng.random() < self.random_erasing:
            top, left, rows, columns = sample_rectangle(height, width, rng)
            out = out.copy()
            noise = rng.random((len(image), rows, columns), np.float32)
            out[:, top : top + rows, left : left + columns] = noise
        return out


NO_EFFECTS = Effects()


def sample_rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Sample the rectangle of random erasing (https://arxiv.org/abs/1708.04896, algorithm 1).

    Area, height / width and the upper left corner are uniform; rectangles that leave the image are sampled again.

    Returns:
        Top, left, height and width in pixels; without area if no rectangle fits.
    """
    for _ in range(_ERASE_TRIALS):
        area, aspect = rng.uniform(*ERASED_AREA) * height * width, rng.uniform(*ERASED_ASPECT)
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        top, left = int(rng.integers(height)), int(rng.integers(width))
        if top + rows <= height and left + columns <= width:
            return top, left, rows, columns
    return 0, 0, 0, 0


def sample_cutout(height: int, width: int, side: int, rng: np.random.Generator) -> Mask:
    """Sample the square of CutOut, bool [height, width] (https://arxiv.org/abs/1708.04552).

    Its centre is uniform in the image, so that parts of it may be outside.
    """
    rows, columns = (np.arange(n) - int(rng.integers(n)) + side // 2 for n in (height, width))
    inside = [(axis >= 0) & (axis < side) for axis in (rows, columns)]
    mask: Mask = inside[0][:, None] & inside[1]
    return mask


def sample_hidden_patches(height: int, width: int, probability: float, rng: np.random.Generator) -> Mask:
    """Sample the patches of hide-and-seek, bool [height, width] (https://arxiv.org/abs/1811.02545).

    The image is divided into squares of a side that is drawn for it; each is hidden with ``probability``.
    """
    side = int(rng.choice(PATCHES))
    if not side:
        return np.zeros((height, width), np.bool_)
    hidden = rng.random((-(-height // side), -(-width // side))) < probability
    mask: Mask = hidden.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return mask


def sample_grid(height: int, width: int, ratio: float, rng: np.random.Generator) -> Mask:
    """Sample the grid of squares of GridMask, bool [height, width] (https://arxiv.org/abs/2001.04086, section 3).

    In each unit of d x d pixels a square of side d - round(ratio * d) is erased, so that a share of 1 - (1 - ratio)**2
    is kept. d and the position of the grid are uniform; the grid is not rotated.
    """
    low, high = (round(share * min(height, width)) for share in GRID_UNITS)
    unit = int(rng.integers(max(low, 2), max(high, 2), endpoint=True))
    kept = round(ratio * unit)
    rows, columns = ((np.arange(n) + int(rng.integers(unit))) % unit >= kept for n in (height, width))
    mask: Mask = rows[:, None] & columns
    return mask
