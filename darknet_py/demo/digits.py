"""A detection data set that needs no download: handwritten digits on made textures.

    write("digits")      # digits/digits.data, its lists, class names, images and label files

The digits are the 1797 of ``digits.png`` (8 x 8 cells each; E. Alpaydin and C. Kaynak, Optical Recognition of
Handwritten Digits, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0). They are drawn
smooth, in any size, slant and colour, a few in an image. Those of the images to train on are never in an image
to validate on, and mostly of other writers. An image follows from seed, list and its number there, so a small set
is the beginning of a large one with that seed.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._typing import StrPath
from ..data.labels import TargetArray
from ..errors import DataError
from ..files import atomic_write
from .textures import texture

Array = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]  # left, top, width, height in pixels

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SUBSETS = ("train", "valid")
SIDE = 96  # pixels of an image

_CELLS, _LEVELS = 8, 240  # of a digit; the grey of a full cell
_TRAINED = 0.8  # of each digit's samples
_SMALL, _LARGE, _MOST = 20, 48, 6  # cells' extent in pixels; digits in an image
_TRIES, _COLOURS = 30, 10_000  # to find a place, and an ink
_SHARED = 0.05  # of the smaller box, that another one may cover
_CONTRAST = 0.35  # at least so much darker than the paper under it is an ink, in brightness 0..1
_LUMA = np.array([0.299, 0.587, 0.114])


def write(
    folder: StrPath, train: int = 1600, valid: int = 400, *, seed: int = 0, progress: bool = False
) -> pathlib.Path:
    """Make the data set in ``folder``: so many images to train and to validate on. Returns its .data file.

    Paths in its files count from ``folder``. ``progress`` shows a bar on stderr. Raises DataError where it cannot
    be written.
    """
    from tqdm import tqdm

    root, samples = pathlib.Path(folder), load()
    counts = dict(zip(SUBSETS, (train, valid), strict=True))
    try:
        with tqdm(total=train + valid, unit=" images", disable=not progress) as bar:
            for subset, count in counts.items():
                (root / subset).mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    _save(root / subset / f"{number:05d}", *scene(samples[subset], subset, number, seed))
                    bar.update()
                _text(root / f"{subset}.txt", (f"{subset}/{number:05d}.png" for number in range(count)))
        _text(root / "digits.names", NAMES)
        entries = {"classes": len(NAMES), "train": "train.txt", "valid": "valid.txt", "names": "digits.names"}
        _text(root / "digits.data", (f"{key} = {value}" for key, value in {**entries, "backup": "backup"}.items()))
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror}") from error
    return root / "digits.data"


def load() -> dict[str, list[Array]]:
    """By list the samples of each digit: [n, 8, 8] of values 0..1."""
    with Image.open(pathlib.Path(__file__).with_name("digits.png")) as sheet:
        cells = np.asarray(sheet, np.float64) / _LEVELS
    rows = cells.reshape(len(NAMES), _CELLS, -1, _CELLS).transpose(0, 2, 1, 3)
    kept = [row[row.any(axis=(1, 2))] for row in rows]
    ends = [int(len(row) * _TRAINED) for row in kept]
    parts = ([row[:end] for row, end in zip(kept, ends, strict=True)], [r[e:] for r, e in zip(kept, ends, strict=True)])
    return dict(zip(SUBSETS, parts, strict=True))


def scene(
    samples: list[Array], subset: str = "valid", number: int = 0, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], TargetArray]:
    """Image ``number`` of a list, [96, 96, 3] of uint8, and its objects; ``samples``: see ``load``."""
    rng = np.random.default_rng((seed, SUBSETS.index(subset), number))
    canvas, boxes, classes = texture(rng, SIDE), list[Box](), list[int]()
    for _ in range(rng.integers(1, _MOST + 1)):
        digit = int(rng.integers(len(NAMES)))
        ink = _drawn(rng, samples[digit][rng.integers(len(samples[digit]))])
        if (box := _place(rng, ink.shape, boxes)) is not None:
            left, top, width, height = box
            part = canvas[top : top + height, left : left + width]
            part += (_colour(rng, part.mean(axis=(0, 1))) - part) * ink[..., None]
            boxes.append(box)
            classes.append(digit)
    rows = [((x + w / 2) / SIDE, (y + h / 2) / SIDE, w / SIDE, h / SIDE) for x, y, w, h in boxes]
    targets = np.array([(*row, digit) for row, digit in zip(rows, classes, strict=True)], np.float32).reshape(-1, 5)
    return np.rint(canvas * 255).astype(np.uint8), targets


def _drawn(rng: np.random.Generator, cells: Array) -> Array:
    """The ink 0..1 of a digit in some size, turned and slanted a little; nothing empty around it."""
    scale = np.exp(rng.uniform(np.log(_SMALL), np.log(_LARGE))) / _CELLS  # pixels of a cell
    wide, slant, turn = np.exp(rng.normal(0, 0.1)), rng.normal(0, 0.12), rng.normal(0, 0.1)
    side = int(2 * _CELLS * scale)
    y, x = (np.mgrid[0:side, 0:side] - (side - 1) / 2) / scale
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    centre, at = (_CELLS - 1) / 2, np.arange(_CELLS)
    columns = np.exp(-2 * ((x + slant * y) / wide + centre - at[:, None, None]) ** 2)
    lines = np.exp(-2 * (y + centre - at[:, None, None]) ** 2)
    height = np.einsum("ij,iyx,jyx->yx", cells, lines, columns, optimize=True) / (np.pi / 2)
    ink: Array = np.clip((height - rng.uniform(0.48, 0.62)) / 0.2 + 0.5, 0, 1)
    rows, across = (np.flatnonzero(ink.max(axis=axis) > 0.5) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, across[0] : across[-1] + 1]


def _place(rng: np.random.Generator, shape: tuple[int, ...], taken: list[Box]) -> Box | None:
    """Where a digit of that height and width has room beside the others; None after some tries."""
    height, width = shape
    for _ in range(_TRIES):
        left, top = (int(rng.integers(SIDE - extent + 1)) for extent in (width, height))
        box = (left, top, width, height)
        if all(_common(box, other) <= _SHARED * min(width * height, other[2] * other[3]) for other in taken):
            return box
    return None


def _common(a: Box, b: Box) -> int:
    """Pixels that two boxes share."""
    across, down = (min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    return max(across, 0) * max(down, 0)


def _colour(rng: np.random.Generator, under: Array) -> Array:
    """An ink that can be told from the paper ``under`` it; black where that is too dark for any."""
    for _ in range(_COLOURS):
        colour: Array = rng.uniform(0, 1, 3)
        if (under - colour) @ _LUMA >= _CONTRAST:
            return colour
    return np.zeros(3)


def _save(stem: pathlib.Path, image: npt.NDArray[np.uint8], targets: TargetArray) -> None:
    with atomic_write(f"{stem}.png") as file:
        Image.fromarray(image).save(file, "PNG")
    _text(f"{stem}.txt", (f"{int(row[4])} " + " ".join(f"{value:.6f}" for value in row[:4]) for row in targets))


def _text(path: StrPath, lines: Iterable[str]) -> None:
    with atomic_write(os.fspath(path), "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
