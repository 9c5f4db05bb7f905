"""Training images for detectors, as Darknet's OpenCV build makes them (``load_data_detection``).

Every image is drawn for with a generator of its own, so that it does not matter who makes it and when:
cut and scaled by ``jitter`` and ``resize``, mirrored, changed in colour, blurred, given noise; and where
``mixup`` or ``mosaic`` ask for it, made of two or four. Where Darknet does what it cannot have meant
(docs/oddities.md) this does the same, unless ``Recipe.mended``.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cfg.net_section import Net
from ..data.labels import Truths
from ..errors import ConfigError
from ..images.reading import ImageArray
from ..layers import Head
from . import colour, geometry, mosaic
from .colour import Floats, Shift
from .geometry import Size, Window

_log = logging.getLogger(__name__)

_BACKGROUND = 1  # the value of blur= that leaves objects sharp
_BACKGROUND_SIZE = 17
_IDENTITY = slice(5, None)  # the column for tracking, where targets have it; mixed images lose it


class Mix(enum.IntEnum):
    """How many images a mixed one is made of."""

    NONE = 1
    MIXUP = 2
    MOSAIC = mosaic.PARTS


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What augmentation does, in the words of ``[net]`` and of the last head.

    ``max``: objects per image. ``mended``: hue goes round, noise has both signs and a mosaic's borders
    are measured as they are, which Darknet does not do.
    """

    jitter: float = 0.2
    resize: float = 1.0
    flip: bool = True
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    gaussian_noise: int = 0
    mix: Mix = Mix.NONE
    mosaic_bound: bool = False
    letter_box: bool = False
    max: int = 200
    mended: bool = False


PLAIN = Recipe(jitter=0, flip=False)  # scaled and nothing else


def recipe(net: Net, head: Head, *, mended: bool = False) -> Recipe:
    """The recipe of a cfg. Raises ConfigError for mosaic=1 with letter_box=1, which Darknet refuses too."""
    if net.cutmix:
        _log.warning("cutmix=1 is for classifiers; a detector is trained without it, as in Darknet")
    if net.mosaic and net.letter_box:
        raise ConfigError("[net] mosaic=1 and letter_box=1: expected one of them alone")
    # cutmix without mosaic takes the place of mixup, and is then refused.
    mix = Mix.MOSAIC if net.mosaic else Mix.MIXUP if net.mixup and not net.cutmix else Mix.NONE
    own = {name: getattr(net, name) for name in _NET}
    ends = {name: getattr(head.options, name) for name in _HEAD}
    return Recipe(**own, **ends, mix=mix, mended=mended)


_NET = ("flip", "hue", "saturation", "exposure", "blur", "gaussian_noise", "mosaic_bound", "letter_box")
_HEAD = ("jitter", "resize", "max")


@dataclass(frozen=True)
class Draw:
    """The random numbers of one image: ``edges`` (left, right, top, bottom) and ``sizes`` are in 0..1."""

    edges: tuple[float, ...]
    sizes: tuple[float, ...]
    flip: bool
    shift: Shift
    blur: int
    noise: int

    def like(self, other: Draw, *, place: bool, colour: bool) -> Draw:
        """The draw of the second image of a contrastive pair, which has edges and flip, and colours, of the first."""
        kept = replace(self, edges=other.edges, flip=other.flip) if place else self
        return replace(kept, shift=other.shift) if colour else kept


def draw(recipe: Recipe, rng: np.random.Generator) -> Draw:
    """Draw for one image."""
    edges, sizes = tuple(rng.random(4)), tuple(rng.random(2))
    flip = bool(recipe.flip and rng.integers(2))
    hue = rng.uniform(-recipe.hue, recipe.hue)
    shift = Shift(hue, scale(recipe.saturation, rng), scale(recipe.exposure, rng))
    blur = (0, _BACKGROUND, recipe.blur)[rng.integers(3)] if recipe.blur else 0
    noise = recipe.gaussian_noise if recipe.gaussian_noise and rng.integers(2) else 0
    return Draw(edges, sizes, flip, shift, blur, noise)


def scale(most: float, rng: np.random.Generator) -> float:
    """A factor between 1 and ``most``, or with the same probability its inverse (``rand_scale``)."""
    factor = 1 + (most - 1) * rng.random()
    return factor if rng.integers(2) else 1 / factor


def window_of(recipe: Recipe, drawn: Draw, width: int, height: int) -> Window:
    """The window that was drawn for an image."""
    sides = (width, width, height, height)
    margins = []
    for side, edge, size in zip(sides, drawn.edges, drawn.sizes * 2, strict=True):
        reach = int(side * recipe.jitter)
        shrink, grow = sorted((recipe.resize, 1 / recipe.resize))
        least = int(side * (1 - 1 / shrink) / 2)
        most = int(side * (1 - 1 / grow) / 2) if recipe.resize >= 1 else 0
        margins.append(int(int(2 * reach * edge - reach) + least + (most - least) * size))
    left, right, top, bottom = margins
    return Window(left, right, top, bottom, width, height)


@dataclass(frozen=True)
class View:
    """One augmented image [height, width, channels] with its objects, before it is mixed."""

    image: ImageArray
    targets: Truths
    window: Window


def view(
    recipe: Recipe,
    size: Size,
    image: ImageArray,
    targets: Truths,
    drawn: Draw,
    rng: np.random.Generator,
    quadrant: int | None = None,
) -> View:
    """Augment one image. ``size``: of the input. ``quadrant``: of the mosaic that it will be part of."""
    height, width = image.shape[:2]
    seen = window_of(recipe, drawn, width, height)
    if recipe.letter_box:
        seen = seen.letterboxed(size)
    if quadrant is not None and rng.integers(2):
        seen = seen.pushed(quadrant, drawn.flip)
    if seen.hollow:
        seen = Window(0, 0, 0, 0, width, height)
    targets = geometry.mapped(geometry.shuffled(targets, recipe.max, rng), seen, size, drawn.flip)
    image = geometry.cut(image, seen, size)
    if drawn.flip:
        image, seen = image[:, ::-1], seen.mirrored()
    image = colour.shifted(image, drawn.shift, wrap=recipe.mended)
    image = _blurred(image, targets, drawn.blur, size)
    if drawn.noise:
        image = colour.noisy(image, drawn.noise, rng, signed=recipe.mended)
    return View(image, targets, seen)


def _blurred(image: ImageArray, targets: Truths, blur: int, size: Size) -> ImageArray:
    """Blur as far as the smallest object allows; the background alone where the result is 1."""
    if blur > _BACKGROUND:
        blur = min(blur, geometry.shortest(targets, size) // 8)
    if blur > _BACKGROUND:
        return colour.blurred(image, blur // 2 * 2 + 1)
    if blur < _BACKGROUND:
        return image
    out = colour.blurred(image, _BACKGROUND_SIZE)
    for x, y, w, h in targets[:, :4]:
        left, top = int((x - w / 2) * size[0]), int((y - h / 2) * size[1])
        inner = slice(top, top + int(h * size[1])), slice(left, left + int(w * size[0]))
        out[inner] = image[inner]
    return out


Source = tuple[ImageArray, Truths]


def augmented(
    recipe: Recipe, size: Size, sources: Sequence[Source], draws: Sequence[Draw], rng: np.random.Generator
) -> tuple[Floats, Truths]:
    """The training image [channels, height, width] in 0..1 of one, two (mixup) or four (mosaic) images.

    Its objects [n, 5] (x y w h class; [n, 6] with an identity) are at most ``recipe.max``.
    """
    pairs = list(zip(sources, draws, strict=True))
    if len(sources) == Mix.MOSAIC:
        centre = mosaic.centre(size, rng)
        views = [view(recipe, size, *source, drawn, rng, k) for k, (source, drawn) in enumerate(pairs)]
        parts = [mosaic.part(k, centre, v.window, size, exact=recipe.mended) for k, v in enumerate(views)]
        boxes = [v.targets for v in views]
        targets = mosaic.gathered(boxes, parts, size, recipe.max, bound=recipe.mosaic_bound)
        targets[:, _IDENTITY] = 0
        return planes(mosaic.joined([v.image for v in views], parts)), targets
    views = [view(recipe, size, *source, drawn, rng) for source, drawn in pairs]
    for v in views[1:]:
        v.targets[:, _IDENTITY] = 0
    targets = np.concatenate([v.targets for v in views])[: recipe.max]
    out = planes(views[0].image)
    if len(views) == Mix.MIXUP:
        out = (out + planes(views[1].image)) / np.float32(2)
    return out, targets


def planes(image: ImageArray) -> Floats:
    """An image [height, width, channels] of bytes as [channels, height, width] in 0..1."""
    out: Floats = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    out /= 255
    return out
