"""Training images for classifiers, as Darknet makes them (``load_data_augment``, ``random_augment_image``).

A square is cut out of an image that is scaled, turned and stretched at random; it is mirrored, changed in
colour and blurred. ``mixup``, ``cutmix`` and ``mosaic`` mix images, and their classes by the area that
each has. Images are floats [height, width, channels] in 0..1, classes a vector.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..cfg.net_section import Net
from ..images import resizing
from ..images.reading import ImageArray
from . import colour, detection, mosaic
from .colour import Floats, Shift
from .geometry import Size

_BLUR_SIZE = 15  # of blur=1
_BLUR_ONE_OF = 4
_CUT = (0.3, 0.8)  # sides of cutmix' rectangle, as a part of the image's


class Mix(enum.IntEnum):
    """How images are mixed; the numbers are Darknet's."""

    NONE = 0
    MIXUP = 1
    CUTMIX = 2
    MOSAIC = 3
    EITHER = 4  # cutmix or mosaic

    @property
    def images(self) -> int:
        """How many are read for one."""
        return (1, 2, 2, 4, 4)[self]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What augmentation does, in the words of ``[net]``; the crops are sides in pixels."""

    min_crop: int
    max_crop: int
    angle: float = 0.0
    aspect: float = 1.0
    flip: bool = True
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    mix: Mix = Mix.NONE


def recipe(net: Net, size: Size) -> Recipe:
    """The recipe of a cfg for an input of ``size``."""
    least = net.min_crop or int(net.min_ratio * size[0]) or size[0]
    most = net.max_crop or int(net.max_ratio * size[0]) or 2 * size[0]
    if net.mosaic:
        mix = Mix.EITHER if net.cutmix else Mix.MOSAIC
    else:
        mix = Mix.CUTMIX if net.cutmix else Mix.MIXUP if net.mixup else Mix.NONE
    own = {name: getattr(net, name) for name in _NET}
    return Recipe(min_crop=least, max_crop=most, mix=mix, **own)


_NET = ("angle", "aspect", "flip", "hue", "saturation", "exposure", "blur")


@dataclass(frozen=True)
class Place:
    """Which square of an image is taken.

    ``angle`` in radians about the image's centre, ``scale`` of its pixels, ``aspect`` by which columns
    stand closer, ``right`` and ``down`` from the centre in pixels of the square.
    """

    angle: float
    scale: float
    aspect: float
    right: float
    down: float


def draw(recipe: Recipe, width: int, height: int, side: int, rng: np.random.Generator) -> Place:
    """Draw the square, ``side`` pixels wide, of an image."""
    aspect = detection.scale(recipe.aspect, rng)
    low, high = sorted((recipe.min_crop, recipe.max_crop))
    scale = rng.integers(low, high, endpoint=True) / max(1, int(min(height, width * aspect)))
    angle = np.deg2rad(rng.uniform(-recipe.angle, recipe.angle))
    reach = max(0.0, (width * scale / aspect - side) / 2), max(0.0, (height * scale - side) / 2)
    right, down = (rng.uniform(-r, r) for r in reach)
    return Place(angle, scale, aspect, right, down)


def square(image: ImageArray, place: Place, side: int) -> Floats:
    """The square of an image; what lies beyond its edge is black (``rotate_crop_image``)."""
    height, width = image.shape[:2]
    steps = np.arange(side) - side / 2
    across = (steps + place.right) / place.scale * place.aspect
    down = ((steps + place.down) / place.scale)[:, None]
    cos, sin = np.cos(place.angle), np.sin(place.angle)
    x = (cos * across - sin * down + width / 2).clip(-1, width)
    y = (sin * across + cos * down + height / 2).clip(-1, height)
    # A black frame stands for everything outside; the last one of it is read with no weight.
    frame = np.pad(image, ((1, 2), (1, 2), (0, 0)))
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    dx, dy = ((a - b)[..., None].astype(np.float32) for a, b in ((x, left), (y, top)))
    first = (top + 1) * frame.shape[1] + left + 1
    flat = frame.reshape(-1, image.shape[2])
    upper = flat[first] * (1 - dx) + flat[first + 1] * dx
    lower = flat[first + frame.shape[1]] * (1 - dx) + flat[first + frame.shape[1] + 1] * dx
    out: Floats = (upper * (1 - dy) + lower * dy) / 255
    return out


def view(recipe: Recipe, size: Size, image: ImageArray, rng: np.random.Generator) -> Floats:
    """One augmented image in ``size``, before it is mixed and blurred."""
    side = max(size)
    out = square(image, draw(recipe, image.shape[1], image.shape[0], side, rng), side)
    if recipe.flip and rng.integers(2):
        out = out[:, ::-1]
    hue = rng.uniform(-recipe.hue, recipe.hue)
    shift = Shift(hue, detection.scale(recipe.saturation, rng), detection.scale(recipe.exposure, rng))
    out = colour.distorted(out, shift)
    if size == (side, side):
        return out
    tensor = torch.from_numpy(np.ascontiguousarray(out.transpose(2, 0, 1)))
    return resizing.resize(tensor, *size).permute(1, 2, 0).numpy()


Classes = npt.NDArray[np.float32]


def mixed(
    mix: Mix, images: Sequence[Floats], classes: Sequence[Classes], rng: np.random.Generator
) -> tuple[Floats, Classes]:
    """Mix images of one size, and their classes."""
    if mix is Mix.EITHER:
        mix = (Mix.CUTMIX, Mix.MOSAIC)[rng.integers(2)]
    if mix is Mix.NONE:
        return images[0], classes[0]
    height, width = images[0].shape[:2]
    if mix is Mix.MIXUP:
        half = np.float32(0.5)
        return (images[0] + images[1]) * half, (classes[0] + classes[1]) * half
    out = images[0].copy()
    if mix is Mix.CUTMIX:
        x, y, w, h = rectangle((width, height), rng)
        parts = [(slice(0, 0), slice(0, 0)), (slice(y, y + h), slice(x, x + w))]
    else:
        x, y = mosaic.centre((width, height), rng)
        rows, columns = (slice(0, y), slice(y, height)), (slice(0, x), slice(x, width))
        parts = [(row, column) for row in rows for column in columns]
    shares = []
    for image, part in zip(images, parts, strict=False):
        out[part] = image[part]
        shares.append(out[part].shape[0] * out[part].shape[1] / (width * height))
    shares[0] = 1 - sum(shares[1:])
    share = np.array(shares, np.float32)
    return out, np.einsum("i,ij->j", share, np.stack(classes[: len(share)]))


def rectangle(size: Size, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """What cutmix takes from the second image: left, top, width, height."""
    w, h = (int(rng.integers(int(side * _CUT[0]), int(side * _CUT[1]), endpoint=True)) for side in size)
    x, y = (int(rng.integers(0, max(1, side - part))) for side, part in zip(size, (w, h), strict=True))
    return x, y, w, h


def augmented(
    recipe: Recipe, size: Size, sources: Sequence[tuple[ImageArray, Classes]], rng: np.random.Generator
) -> tuple[Floats, Classes]:
    """The training image [channels, height, width] of one or several, and its classes."""
    views = [view(recipe, size, image, rng) for image, _ in sources]
    mix = recipe.mix if len(sources) > 1 else Mix.NONE
    out, classes = mixed(mix, views, [vector for _, vector in sources], rng)
    if recipe.blur and rng.integers(_BLUR_ONE_OF) == 0:
        out = colour.smoothed(out, (_BLUR_SIZE if recipe.blur == 1 else recipe.blur) | 1)
    return np.ascontiguousarray(out.transpose(2, 0, 1)), classes
