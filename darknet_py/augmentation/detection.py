"""Training images for detectors, as Darknet's OpenCV build makes them (``load_data_detection``).

An image is cropped by ``jitter`` and ``resize``, flipped, changed in colour, blurred and overlaid with noise; with
``mixup`` or ``mosaic`` two or four images are combined. All random numbers come from the generators that are passed,
so a result does not depend on the thread or the order in which it is made. Darknet's errors (docs/oddities.md) are
reproduced, unless ``DetectionAugmentation.corrected``.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..cfg.net_section import Net
from ..data.labels import TargetArray
from ..errors import ConfigError
from ..images.reading import ImageArray
from ..layers import Head
from . import colour, cutmix, geometry, mosaic
from .colour import FloatImage, HSVShift
from .effects import NO_EFFECTS, Effects
from .geometry import CropWindow, Size

_BLUR_BACKGROUND = 1  # blur=1 keeps objects sharp
_BACKGROUND_KERNEL = 17
_TRACK_ID = slice(5, None)  # the column of track ids, if targets have it; combined images set it to 0
_NET_KEYS = ("flip", "hue", "saturation", "exposure", "blur", "gaussian_noise", "mosaic_bound", "letter_box")
_HEAD_KEYS = {"jitter": "jitter", "resize": "resize", "max": "max_objects"}


class DetectionMix(enum.IntEnum):
    """How images are combined; the value is the number of images."""

    NONE = 1
    MIXUP = 2
    MOSAIC = mosaic.TILES


@dataclass(frozen=True, kw_only=True)
class DetectionAugmentation:
    """Options of the augmentation: keys of ``[net]`` and of the last head.

    Attributes:
        max_objects: targets per image (``max=``).
        class_only: keep targets that have a class and no box, see ``Head.trains_class_only``.
        cutmix: combine images by CutMix (``detector_cutmix=``); with another ``mix``, half of the mixed images.
        effects: what the finished image gets.
        corrected: correct Darknet's errors: the hue wraps around, noise has both signs, the border of a mosaic's tile
            is measured in its window, and an image whose margins leave nothing has none in a mosaic.
    """

    jitter: float = 0.2
    resize: float = 1.0
    flip: bool = True
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    gaussian_noise: int = 0
    mix: DetectionMix = DetectionMix.NONE
    mosaic_bound: bool = False
    letter_box: bool = False
    max_objects: int = 200
    class_only: bool = False
    cutmix: bool = False
    effects: Effects = NO_EFFECTS
    corrected: bool = False

    @property
    def source_count(self) -> int:
        """Number of images that a mixed one is made of, at most."""
        return max(self.mix, 2 if self.cutmix else 1)

    @classmethod
    def from_cfg(cls, net: Net, head: Head, *, corrected: bool = False) -> Self:
        """Return the augmentation of a cfg.

        Raises:
            ConfigError: mosaic=1 and letter_box=1, which Darknet refuses as well.
        """
        if net.mosaic and net.letter_box:
            raise ConfigError("[net] mosaic=1 and letter_box=1: expected at most one of them")
        if net.mosaic:
            mix = DetectionMix.MOSAIC
        elif net.mixup and not net.cutmix:  # Darknet lets cutmix replace mixup, and then ignores it
            mix = DetectionMix.MIXUP
        else:
            mix = DetectionMix.NONE
        net_values = {key: getattr(net, key) for key in _NET_KEYS}
        head_values = {
            name: getattr(head.options, key) for key, name in _HEAD_KEYS.items() if hasattr(head.options, key)
        }
        return cls(
            **net_values,
            **head_values,
            mix=mix,
            cutmix=net.detector_cutmix,
            effects=Effects.from_cfg(net),
            class_only=head.trains_class_only,
            corrected=corrected,
        )


RESIZE_ONLY = DetectionAugmentation(jitter=0, flip=False)


@dataclass(frozen=True)
class SampledParams:
    """The random numbers for one image.

    Attributes:
        jitter: uniform in 0..1 for the left, right, top and bottom edge.
        resize: uniform in 0..1 for left and top, and for right and bottom.
        flip: whether to flip horizontally.
        shift: change of colour.
        blur: 0 none, 1 the background only, else the window's size in pixels.
        noise: standard deviation of the noise; 0 none.
    """

    jitter: tuple[float, ...]
    resize: tuple[float, ...]
    flip: bool
    shift: HSVShift
    blur: int
    noise: int

    def share(self, first: SampledParams, *, geometry: bool, colour: bool) -> SampledParams:
        """Return these parameters with those of the first image of a contrastive pair where the pair shares them.

        Args:
            first: the parameters of the first image.
            geometry: share ``jitter`` and ``flip``.
            colour: share ``shift``.
        """
        shared = replace(self, jitter=first.jitter, flip=first.flip) if geometry else self
        return replace(shared, shift=first.shift) if colour else shared


def sample_params(augmentation: DetectionAugmentation, rng: np.random.Generator) -> SampledParams:
    """Sample the parameters for one image."""
    jitter = tuple(rng.random(4))
    resize = tuple(rng.random(2))
    flip = bool(augmentation.flip and rng.integers(2))
    shift = colour.sample_shift(augmentation.hue, augmentation.saturation, augmentation.exposure, rng)
    blur = (0, _BLUR_BACKGROUND, augmentation.blur)[rng.integers(3)] if augmentation.blur else 0
    noise = augmentation.gaussian_noise if augmentation.gaussian_noise and rng.integers(2) else 0
    return SampledParams(jitter, resize, flip, shift, blur, noise)


def compute_window(augmentation: DetectionAugmentation, params: SampledParams, width: int, height: int) -> CropWindow:
    """Compute the crop window of an image of ``width`` x ``height`` pixels, in float32 as C does."""
    jitter, resize, one = np.float32(augmentation.jitter), np.float32(augmentation.resize), np.float32(1)
    shrink, grow = min(resize, one / resize), max(resize, one / resize)
    margins = []
    for length, jitter_draw, resize_draw in zip(
        (width, width, height, height), params.jitter, params.resize * 2, strict=True
    ):
        side = np.float32(length)
        reach = int(side * jitter)
        low = int(side * (1 - one / shrink) / 2)
        high = int(side * (1 - one / grow) / 2) if resize >= 1 else 0
        moved = int(np.float32(jitter_draw) * np.float32(2 * reach) - reach)
        margins.append(int(moved + (np.float32(resize_draw) * np.float32(high - low) + low)))
    left, right, top, bottom = margins
    return CropWindow(left, right, top, bottom, width, height)


@dataclass(frozen=True)
class AugmentedSample:
    """An augmented image before it is combined with others.

    Attributes:
        image: uint8 [height, width, channels].
        targets: float32 [n, 5 or more], (cx, cy, w, h) relative to the image, class, ...
        window: the margins of the cropped window, flipped if the image is. If they left nothing, the whole image was
            cropped, and the window has no left and no top margin.
    """

    image: ImageArray
    targets: TargetArray
    window: CropWindow


def augment_image(
    augmentation: DetectionAugmentation,
    size: Size,
    image: ImageArray,
    targets: TargetArray,
    params: SampledParams,
    rng: np.random.Generator,
    tile: int | None = None,
) -> AugmentedSample:
    """Augment one image.

    Args:
        augmentation: the options.
        size: width and height of the network's input.
        image: uint8 [H, W, channels].
        targets: float32 [n, 5 or more], (cx, cy, w, h) relative to the image, class, ...
        params: the sampled parameters.
        rng: random number generator for the order of the targets and the noise.
        tile: index of the mosaic's tile that the image is for.
    """
    height, width = image.shape[:2]
    window = compute_window(augmentation, params, width, height)
    if augmentation.letter_box:
        window = window.letterbox(size)
    if tile is not None and rng.integers(2):
        window = window.align_to_tile(tile, params.flip)
    cropped = window
    if window.is_empty:
        cropped = CropWindow(0, 0, 0, 0, width, height)
        # C keeps the right and the bottom margin for the position of a mosaic's tile.
        window = cropped if augmentation.corrected else window._replace(left=0, top=0)
    targets = geometry.shuffle(targets, augmentation.max_objects, rng)
    targets = geometry.transform_boxes(targets, cropped, size, params.flip, class_only=augmentation.class_only)
    image = geometry.crop(image, cropped, size)
    if params.flip:
        image, window = image[:, ::-1], window.flip()
    image = colour.shift_hsv(image, params.shift, wrap=augmentation.corrected)
    image = _blur(image, targets, params.blur, size)
    if params.noise:
        image = colour.add_noise(image, params.noise, rng, signed=augmentation.corrected)
    return AugmentedSample(image, targets, window)


def _blur(image: ImageArray, targets: TargetArray, blur: int, size: Size) -> ImageArray:
    """Blur with a window of at most 1/8 of the smallest object; if that is 1 pixel, the background only."""
    if blur > _BLUR_BACKGROUND:
        blur = min(blur, geometry.shortest_side(targets, size) // 8)
    if blur > _BLUR_BACKGROUND:
        return colour.blur(image, blur // 2 * 2 + 1)
    if blur < _BLUR_BACKGROUND:
        return image
    out = colour.blur(image, _BACKGROUND_KERNEL)
    for x, y, w, h in targets[:, :4]:
        left, top = int((float(x) - float(w) / 2) * size[0]), int((float(y) - float(h) / 2) * size[1])
        box = slice(top, top + int(h * size[1])), slice(left, left + int(w * size[0]))
        out[box] = image[box]
    return out


LabelledImage = tuple[ImageArray, TargetArray]
_Source = tuple[LabelledImage, SampledParams]


def augment(
    augmentation: DetectionAugmentation,
    size: Size,
    sources: Sequence[LabelledImage],
    params: Sequence[SampledParams],
    rng: np.random.Generator,
) -> tuple[FloatImage, TargetArray]:
    """Make a training image from one, two (MixUp, CutMix) or four (mosaic) images.

    Args:
        augmentation: the options.
        size: width and height of the network's input.
        sources: for each image its pixels, uint8 [H, W, channels], and its targets, float32 [n, 5 or 6]:
            (cx, cy, w, h) relative to the image, class, track id.
        params: the sampled parameters of each image.
        rng: random number generator.

    Returns:
        The image, float32 [channels, height, width] in 0..1, and its targets, float32 [m, 5 or 6],
        m <= ``max_objects``.
    """
    pairs = list(zip(sources, params, strict=True))
    is_cutmix = augmentation.cutmix and len(pairs) > 1
    if is_cutmix and augmentation.mix != DetectionMix.NONE:
        is_cutmix = bool(rng.integers(2))
    if is_cutmix:
        out, targets = _paste(augmentation, size, pairs[:2], rng)
    elif len(pairs) == DetectionMix.MOSAIC:
        out, targets = _compose(augmentation, size, pairs, rng)
    else:
        out, targets = _blend(augmentation, size, pairs, rng)
    return augmentation.effects.apply(out, rng), targets


def _compose(
    augmentation: DetectionAugmentation, size: Size, pairs: Sequence[_Source], rng: np.random.Generator
) -> tuple[FloatImage, TargetArray]:
    """Make a mosaic of four images."""
    centre = mosaic.sample_centre(size, rng)
    samples = [augment_image(augmentation, size, *source, sampled, rng, k) for k, (source, sampled) in enumerate(pairs)]
    tiles = [
        mosaic.make_tile(k, centre, sample.window, size, exact=augmentation.corrected)
        for k, sample in enumerate(samples)
    ]
    boxes = [sample.targets for sample in samples]
    targets = mosaic.merge_boxes(boxes, tiles, size, augmentation.max_objects, bound=augmentation.mosaic_bound)
    targets[:, _TRACK_ID] = 0
    return to_float_chw(mosaic.compose([sample.image for sample in samples], tiles)), targets


def _paste(
    augmentation: DetectionAugmentation, size: Size, pairs: Sequence[_Source], rng: np.random.Generator
) -> tuple[FloatImage, TargetArray]:
    """Paste a rectangle of the second image into the first (CutMix)."""
    first, second = (augment_image(augmentation, size, *source, sampled, rng) for source, sampled in pairs)
    second.targets[:, _TRACK_ID] = 0
    rectangle = cutmix.sample_rectangle(size, rng)
    left, top, width, height = rectangle
    region = (slice(top, top + height), slice(left, left + width))
    image = first.image.copy()
    image[region] = second.image[region]
    boxes = (
        cutmix.visible_boxes(first.targets, rectangle, size, pasted=False),
        cutmix.visible_boxes(second.targets, rectangle, size, pasted=True),
    )
    return to_float_chw(image), np.concatenate(boxes)[: augmentation.max_objects]


def _blend(
    augmentation: DetectionAugmentation, size: Size, pairs: Sequence[_Source], rng: np.random.Generator
) -> tuple[FloatImage, TargetArray]:
    """Augment one image, or blend two (MixUp)."""
    samples = [augment_image(augmentation, size, *source, sampled, rng) for source, sampled in pairs]
    for sample in samples[1:]:
        sample.targets[:, _TRACK_ID] = 0
    targets = np.concatenate([sample.targets for sample in samples])[: augmentation.max_objects]
    out = to_float_chw(samples[0].image)
    if len(samples) == DetectionMix.MIXUP:
        out = (out + to_float_chw(samples[1].image)) / np.float32(2)
    return out, targets


def to_float_chw(image: ImageArray) -> FloatImage:
    """Convert uint8 [height, width, channels] to float32 [channels, height, width] in 0..1."""
    out: FloatImage = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    out /= 255
    return out
