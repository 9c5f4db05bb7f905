"""Training images for classifiers, as Darknet makes them (``load_data_augment``, ``random_augment_image``).

A square is cropped from a randomly scaled, rotated and stretched image; it is flipped, changed in colour and blurred.
``mixup``, ``cutmix`` and ``mosaic`` combine images, and weight their classes by area. Images are float32
[height, width, channels] in 0..1, classes float32 [classes].
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from ..cfg.net_section import Net
from ..data.class_labels import ClassVector
from ..images import resizing
from ..images.reading import ImageArray
from . import colour, cutmix, mosaic
from .colour import FloatImage
from .effects import NO_EFFECTS, Effects
from .geometry import Size

_BLUR_KERNEL = 15  # of blur=1
_BLUR_ONE_IN = 4
_NET_KEYS = ("angle", "aspect", "flip", "hue", "saturation", "exposure", "blur")


class ClassificationMix(enum.IntEnum):
    """How images are combined; the values are Darknet's."""

    NONE = 0
    MIXUP = 1
    CUTMIX = 2
    MOSAIC = 3
    CUTMIX_OR_MOSAIC = 4

    @property
    def source_count(self) -> int:
        """Number of images that one is made of."""
        return (1, 2, 2, 4, 4)[self]


@dataclass(frozen=True, kw_only=True)
class ClassificationAugmentation:
    """Options of the augmentation: keys of ``[net]``; ``min_crop`` and ``max_crop`` are sides in pixels."""

    min_crop: int
    max_crop: int
    angle: float = 0.0
    aspect: float = 1.0
    flip: bool = True
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    mix: ClassificationMix = ClassificationMix.NONE
    effects: Effects = NO_EFFECTS

    @classmethod
    def from_cfg(cls, net: Net, size: Size) -> Self:
        """Return the augmentation of a cfg for an input of ``size``."""
        min_crop = net.min_crop or int(net.min_ratio * size[0]) or size[0]
        max_crop = net.max_crop or int(net.max_ratio * size[0]) or 2 * size[0]
        if net.mosaic:
            mix = ClassificationMix.CUTMIX_OR_MOSAIC if net.cutmix else ClassificationMix.MOSAIC
        elif net.cutmix:
            mix = ClassificationMix.CUTMIX
        else:
            mix = ClassificationMix.MIXUP if net.mixup else ClassificationMix.NONE
        values = {key: getattr(net, key) for key in _NET_KEYS}
        return cls(min_crop=min_crop, max_crop=max_crop, mix=mix, effects=Effects.from_cfg(net), **values)


@dataclass(frozen=True)
class CropParams:
    """The square to crop from an image.

    Attributes:
        angle: rotation about the image's centre in radians.
        scale: factor from the image's pixels to those of the square.
        aspect: factor by which the image is compressed horizontally.
        dx: offset of the square from the image's centre, to the right, in pixels of the square.
        dy: the same, downwards.
    """

    angle: float
    scale: float
    aspect: float
    dx: float
    dy: float


def sample_crop(
    augmentation: ClassificationAugmentation, width: int, height: int, side: int, rng: np.random.Generator
) -> CropParams:
    """Sample a square of ``side`` pixels from an image of ``width`` x ``height``."""
    aspect = colour.sample_scale(augmentation.aspect, rng)
    low, high = sorted((augmentation.min_crop, augmentation.max_crop))
    scale = rng.integers(low, high, endpoint=True) / max(1, int(min(height, width * aspect)))
    angle = np.deg2rad(rng.uniform(-augmentation.angle, augmentation.angle))
    limits = max(0.0, (width * scale / aspect - side) / 2), max(0.0, (height * scale - side) / 2)
    dx, dy = (rng.uniform(-limit, limit) for limit in limits)
    return CropParams(angle, scale, aspect, dx, dy)


def crop_square(image: ImageArray, params: CropParams, side: int) -> FloatImage:
    """Crop a square, bilinear, black outside the image (``rotate_crop_image``).

    Args:
        image: uint8 [height, width, channels].
        params: the square.
        side: pixels of the result.

    Returns:
        float32 [side, side, channels], 0..1.
    """
    height, width = image.shape[:2]
    steps = np.arange(side) - side / 2
    across = (steps + params.dx) / params.scale * params.aspect
    down = ((steps + params.dy) / params.scale)[:, None]
    cos, sin = np.cos(params.angle), np.sin(params.angle)
    x = (cos * across - sin * down + width / 2).clip(-1, width)
    y = (sin * across + cos * down + height / 2).clip(-1, height)
    # Coordinates outside are clipped to a black border of one pixel; the second pixel, right and below, has weight 0.
    padded = np.pad(image, ((1, 2), (1, 2), (0, 0)))
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    dx, dy = ((a - b)[..., None].astype(np.float32) for a, b in ((x, left), (y, top)))
    first = (top + 1) * padded.shape[1] + left + 1
    flat = padded.reshape(-1, image.shape[2])
    upper = flat[first] * (1 - dx) + flat[first + 1] * dx
    lower = flat[first + padded.shape[1]] * (1 - dx) + flat[first + padded.shape[1] + 1] * dx
    out: FloatImage = (upper * (1 - dy) + lower * dy) / 255
    return out


def augment_image(
    augmentation: ClassificationAugmentation, size: Size, image: ImageArray, rng: np.random.Generator
) -> FloatImage:
    """Augment one image, before it is combined with others and blurred.

    Args:
        augmentation: the options.
        size: width and height of the result.
        image: uint8 [H, W, channels].
        rng: random number generator.

    Returns:
        float32 [height, width, channels], 0..1.
    """
    side = max(size)
    out = crop_square(image, sample_crop(augmentation, image.shape[1], image.shape[0], side, rng), side)
    if augmentation.flip and rng.integers(2):
        out = out[:, ::-1]
    shift = colour.sample_shift(augmentation.hue, augmentation.saturation, augmentation.exposure, rng)
    out = colour.distort(out, shift)
    if size == (side, side):
        return out
    tensor = torch.from_numpy(np.ascontiguousarray(out.transpose(2, 0, 1)))
    return resizing.resize(tensor, *size).permute(1, 2, 0).numpy()


def mix_images(
    mix: ClassificationMix, images: Sequence[FloatImage], classes: Sequence[ClassVector], rng: np.random.Generator
) -> tuple[FloatImage, ClassVector]:
    """Combine images and their classes.

    Args:
        mix: the kind of combination.
        images: float32 [height, width, channels], all of one size.
        classes: float32 [classes] of each image.
        rng: random number generator.

    Returns:
        The combined image and the classes, weighted by the area of their image.
    """
    if mix is ClassificationMix.CUTMIX_OR_MOSAIC:
        mix = (ClassificationMix.CUTMIX, ClassificationMix.MOSAIC)[rng.integers(2)]
    if mix is ClassificationMix.NONE:
        return images[0], classes[0]
    height, width = images[0].shape[:2]
    if mix is ClassificationMix.MIXUP:
        half = np.float32(0.5)
        return (images[0] + images[1]) * half, (classes[0] + classes[1]) * half
    out = images[0].copy()
    if mix is ClassificationMix.CUTMIX:
        x, y, w, h = cutmix.sample_rectangle((width, height), rng)
        regions = [(slice(0, 0), slice(0, 0)), (slice(y, y + h), slice(x, x + w))]
    else:
        x, y = mosaic.sample_centre((width, height), rng)
        rows, columns = (slice(0, y), slice(y, height)), (slice(0, x), slice(x, width))
        regions = [(row, column) for row in rows for column in columns]
    areas = []
    for image, region in zip(images, regions, strict=False):
        out[region] = image[region]
        areas.append(out[region].shape[0] * out[region].shape[1] / (width * height))
    areas[0] = 1 - sum(areas[1:])
    weights = np.array(areas, np.float32)
    return out, np.einsum("i,ij->j", weights, np.stack(classes[: len(weights)]))


def augment(
    augmentation: ClassificationAugmentation,
    size: Size,
    sources: Sequence[tuple[ImageArray, ClassVector]],
    rng: np.random.Generator,
) -> tuple[FloatImage, ClassVector]:
    """Make a training image from one or several images.

    Args:
        augmentation: the options.
        size: width and height of the network's input.
        sources: for each image its pixels, uint8 [H, W, channels], and its classes, float32 [classes].
        rng: random number generator.

    Returns:
        The image, float32 [channels, height, width] in 0..1, and its classes, float32 [classes].
    """
    images = [augment_image(augmentation, size, image, rng) for image, _ in sources]
    mix = augmentation.mix if len(sources) > 1 else ClassificationMix.NONE
    out, classes = mix_images(mix, images, [vector for _, vector in sources], rng)
    if augmentation.blur and rng.integers(_BLUR_ONE_IN) == 0:
        out = colour.gaussian_filter(out, (_BLUR_KERNEL if augmentation.blur == 1 else augmentation.blur) | 1)
    return augmentation.effects.apply(np.ascontiguousarray(out.transpose(2, 0, 1)), rng), classes
