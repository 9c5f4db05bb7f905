"""A synthetic detection data set that needs no download: handwritten digits on procedural textures.

    write_dataset("digits")      # digits/digits.data, its lists, class names, images and label files

The digits are the 1797 of ``digits.png`` (8 x 8 pixels each; E. Alpaydin and C. Kaynak, Optical Recognition of
Handwritten Digits, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0). They are
rendered smoothly, in random size, slant and colour, up to six in an image. Training and validation images use
different samples of each digit, mostly of different writers. An image depends on the seed, the subset and its number
only, so a small data set is the beginning of a larger one with the same seed.
"""

from __future__ import annotations

import pathlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._typing import StrPath
from ..data.labels import TargetArray, format_labels
from ..data.subsets import write_lines
from ..files import atomic_write, create_folder
from .textures import render_texture

Array = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]  # left, top, width, height in pixels

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SUBSETS = ("train", "valid")
SIDE = 96  # pixels of an image

_CELLS = 8  # pixels of a digit's sample
_MAX_LEVEL = 240  # grey level of full ink in digits.png
_TRAIN_SHARE = 0.8  # of each digit's samples
_MIN_SIZE, _MAX_SIZE = 20, 48  # pixels of a rendered sample
_MAX_DIGITS = 6  # in an image
_MAX_BOX_ATTEMPTS = 30
_MAX_COLOUR_ATTEMPTS = 10_000
_MAX_OVERLAP = 0.05  # of the smaller of two boxes
_MIN_CONTRAST = 0.35  # difference in brightness (0..1) between a background and a darker ink
_LUMA = np.array([0.299, 0.587, 0.114])


def write_dataset(
    folder: StrPath, train: int = 1600, valid: int = 400, *, seed: int = 0, progress: bool = False
) -> pathlib.Path:
    """Write the data set.

    Args:
        folder: where the files are written; paths in them are relative to it.
        train: number of training images.
        valid: number of validation images.
        seed: seed of all images.
        progress: show a progress bar on stderr if that is a terminal.

    Returns:
        The path of the .data file.

    Raises:
        DataError: a file cannot be written.
    """
    from tqdm import tqdm

    root = pathlib.Path(folder)
    samples = load_samples()
    counts = dict(zip(SUBSETS, (train, valid), strict=True))
    with tqdm(total=train + valid, unit=" images", disable=None if progress else True) as bar:
        for subset, count in counts.items():
            create_folder(root / subset)
            for number in range(count):
                _write_sample(root / subset / f"{number:05d}", *render_image(samples[subset], subset, number, seed))
                bar.update()
            write_lines(root / f"{subset}.txt", (f"{subset}/{number:05d}.png" for number in range(count)))
    write_lines(root / "digits.names", CLASS_NAMES)
    entries = {"classes": len(CLASS_NAMES), "train": "train.txt", "valid": "valid.txt", "names": "digits.names"}
    entries["backup"] = "backup"
    write_lines(root / "digits.data", (f"{key} = {value}" for key, value in entries.items()))
    return root / "digits.data"


def load_samples() -> dict[str, list[Array]]:
    """Return the samples of each digit by subset: for digit k at index k float64 [n, 8, 8], 0..1."""
    with Image.open(pathlib.Path(__file__).with_name("digits.png"), formats=("PNG",)) as sheet:
        pixels = np.asarray(sheet, np.float64) / _MAX_LEVEL
    rows = pixels.reshape(len(CLASS_NAMES), _CELLS, -1, _CELLS).transpose(0, 2, 1, 3)
    digits = [row[row.any(axis=(1, 2))] for row in rows]
    train = [samples[: int(len(samples) * _TRAIN_SHARE)] for samples in digits]
    valid = [samples[int(len(samples) * _TRAIN_SHARE) :] for samples in digits]
    return dict(zip(SUBSETS, (train, valid), strict=True))


def render_image(
    samples: list[Array], subset: str = "valid", number: int = 0, seed: int = 0, count: int | None = None
) -> tuple[npt.NDArray[np.uint8], TargetArray]:
    """Render an image of the data set.

    Args:
        samples: the samples of each digit, of ``load_samples``.
        subset: ``train`` or ``valid``.
        number: number of the image in its list.
        seed: seed of the data set.
        count: number of digits to draw, of which those that find no place are left out; None: random, 1 to 6.

    Returns:
        The image, uint8 [96, 96, 3], and its targets, float32 [n, 5], (cx, cy, w, h) relative to the image, class.
    """
    rng = np.random.default_rng((seed, SUBSETS.index(subset), number))
    canvas = render_texture(rng, SIDE)
    boxes: list[Box] = []
    classes: list[int] = []
    for _ in range(rng.integers(1, _MAX_DIGITS + 1) if count is None else count):
        digit = int(rng.integers(len(CLASS_NAMES)))
        ink = _render_digit(rng, samples[digit][rng.integers(len(samples[digit]))])
        if (box := _sample_box(rng, ink.shape, boxes)) is not None:
            left, top, width, height = box
            region = canvas[top : top + height, left : left + width]
            region += (_sample_colour(rng, region.mean(axis=(0, 1))) - region) * ink[..., None]
            boxes.append(box)
            classes.append(digit)
    rows = [((x + w / 2) / SIDE, (y + h / 2) / SIDE, w / SIDE, h / SIDE) for x, y, w, h in boxes]
    targets = np.array([(*row, digit) for row, digit in zip(rows, classes, strict=True)], np.float32).reshape(-1, 5)
    return np.rint(canvas * 255).astype(np.uint8), targets


def _render_digit(rng: np.random.Generator, sample: Array) -> Array:
    """Render a sample in a random size, rotation and slant: ink [height, width], 0..1, cropped to the digit."""
    scale = np.exp(rng.uniform(np.log(_MIN_SIZE), np.log(_MAX_SIZE))) / _CELLS  # pixels per pixel of the sample
    stretch = np.exp(rng.normal(0, 0.1))
    slant = rng.normal(0, 0.12)
    angle = rng.normal(0, 0.1)
    side = int(2 * _CELLS * scale)
    y, x = (np.mgrid[0:side, 0:side] - (side - 1) / 2) / scale
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    # The sample is interpolated with a Gaussian at each of its pixels, and thresholded with a soft edge.
    centre = (_CELLS - 1) / 2
    index = np.arange(_CELLS)
    columns = np.exp(-2 * ((x + slant * y) / stretch + centre - index[:, None, None]) ** 2)
    rows = np.exp(-2 * (y + centre - index[:, None, None]) ** 2)
    height = np.einsum("ij,iyx,jyx->yx", sample, rows, columns, optimize=True) / (np.pi / 2)
    ink: Array = np.clip((height - rng.uniform(0.48, 0.62)) / 0.2 + 0.5, 0, 1)
    ys, xs = (np.flatnonzero(ink.max(axis=axis) > 0.5) for axis in (1, 0))
    return ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]


def _sample_box(rng: np.random.Generator, shape: tuple[int, ...], boxes: list[Box]) -> Box | None:
    """Sample a box of a height and width that overlaps the others little; None if no attempt succeeds."""
    height, width = shape
    for _ in range(_MAX_BOX_ATTEMPTS):
        left, top = (int(rng.integers(SIDE - extent + 1)) for extent in (width, height))
        box = (left, top, width, height)
        if all(_intersection(box, other) <= _MAX_OVERLAP * min(width * height, other[2] * other[3]) for other in boxes):
            return box
    return None


def _intersection(a: Box, b: Box) -> int:
    """Area of the intersection of two boxes in pixels."""
    width, height = (min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    return max(width, 0) * max(height, 0)


def _sample_colour(rng: np.random.Generator, background: Array) -> Array:
    """Sample an ink that contrasts with a background colour; black if the background is too dark for any."""
    for _ in range(_MAX_COLOUR_ATTEMPTS):
        colour: Array = rng.uniform(0, 1, 3)
        if (background - colour) @ _LUMA >= _MIN_CONTRAST:
            return colour
    return np.zeros(3)


def _write_sample(stem: pathlib.Path, image: npt.NDArray[np.uint8], targets: TargetArray) -> None:
    with atomic_write(f"{stem}.png") as file:
        Image.fromarray(image).save(file, "PNG")
    write_lines(f"{stem}.txt", format_labels(targets))
