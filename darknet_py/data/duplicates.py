"""Find near-duplicates: images that are the same but for their size, compression, brightness or a small movement.

The perceptual hash of an image (pHash) is made of the signs of its 63 lowest frequencies, but the mean, against their
median. Two images are near-duplicates if their hashes differ in few bits, and their small grey copies correlate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..images.inspection import read_grey
from ..images.limits import MAX_PIXELS
from .labels import Problem

Hashes = npt.NDArray[np.uint64]  # [n]
GreyImages = npt.NDArray[np.uint8]  # [n, 32, 32]

# Measured on the 128 images of coco128 in copies that were compressed to JPEG quality 20, halved, brightened by 30 % or
# moved by 2 %: 99 % of them are found. No two different images differ in less than 16 bits or correlate above 0.87.
DISTANCE = 10  # bits of 63 by which the hashes of near-duplicates differ at most
_CORRELATION = 0.9  # of their grey copies, at least
_SIDE = 32  # pixels of a grey copy
_FREQUENCIES = 8  # per axis
_HASHED = 4096  # images at a time
_MAX_COMPARED = 1 << 22  # pairs of hashes at a time
_BIT_COUNTS = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


class SimilarImages(NamedTuple):
    """Groups of near-duplicates.

    Attributes:
        groups: indices of the images of each group of two or more, in the order of their first images.
        group_of: for each image the number of a group, different for all that are alone, int64 [n].
        problems: images that cannot be read, which are alone.
    """

    groups: list[list[int]]
    group_of: npt.NDArray[np.int64]
    problems: list[Problem]


def find_near_duplicates(
    images: Sequence[str],
    *,
    distance: int = DISTANCE,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> SimilarImages:
    """Group images that are near-duplicates, directly or through others.

    Args:
        images: their paths.
        distance: bits by which the hashes of two near-duplicates differ at most, 0..63.
        max_pixels: refuse image files with more pixels.
        progress: wraps the paths, for a progress bar.
    """
    grey = np.zeros((len(images), _SIDE, _SIDE), np.uint8)
    problems = []
    is_read = np.zeros(len(images), bool)
    for index, image in enumerate(progress(images)):
        try:
            grey[index] = read_grey(image, _SIDE, max_pixels)
            is_read[index] = True
        except DataError as error:
            problems.append(Problem(image, f"{str(error).removeprefix(f'{image}: ')}; not compared"))
    parents = np.arange(len(images))
    for first, second in _similar_pairs(grey, np.flatnonzero(is_read), distance):
        parents[_root(parents, first)] = _root(parents, second)
    roots = np.array([_root(parents, index) for index in range(len(images))], np.int64)
    members: dict[int, list[int]] = {}
    for index, root in enumerate(roots.tolist()):
        members.setdefault(root, []).append(index)
    return SimilarImages([group for group in members.values() if len(group) > 1], roots, problems)


def perceptual_hashes(grey: GreyImages) -> Hashes:
    """Compute the hash of each grey image, uint8 [n, 32, 32]: uint64 [n], of which 63 bits are used."""
    matrix = _dct_matrix()
    low = (matrix @ grey.astype(np.float32) @ matrix.T).reshape(len(grey), -1)[:, 1:]
    bits = low > np.median(low, axis=1, keepdims=True)
    weights = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    hashes: Hashes = (bits * weights).sum(axis=1, dtype=np.uint64)
    return hashes


def _dct_matrix() -> npt.NDArray[np.float32]:
    """The matrix of the lowest frequencies of the orthonormal DCT-II, [8, 32]."""
    numbers = np.arange(_FREQUENCIES).reshape(-1, 1)
    scale = np.where(numbers == 0, np.sqrt(1 / _SIDE), np.sqrt(2 / _SIDE))
    waves = np.cos(np.pi / _SIDE * numbers * (np.arange(_SIDE) + 0.5))
    return np.asarray(scale * waves, np.float32)


def _similar_pairs(grey: GreyImages, used: npt.NDArray[np.int64], distance: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of near-duplicates. Images with the same hash are compared with the first of them only."""
    parts = (used[start : start + _HASHED] for start in range(0, len(used), _HASHED))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(perceptual_hashes(grey[part]) for part in parts)])
    unique = np.unique(hashes, return_index=True, return_inverse=True)
    distinct, first_of, inverse = np.asarray(unique[0], np.uint64), unique[1], unique[2]
    pairs = [(first, index) for index, first in enumerate(first_of[inverse].tolist())]
    rows = max(1, _MAX_COMPARED // max(1, len(distinct)))
    for start in range(0, len(distinct), rows):
        differences = _count_bits(distinct[start : start + rows, None] ^ distinct[None, start:])
        found = np.argwhere(np.triu(differences <= distance, k=1))
        pairs += first_of[start + found].tolist()
    for one, other in pairs:
        first, second = int(used[one]), int(used[other])
        if first != second and _correlation(grey[first], grey[second]) >= _CORRELATION:
            yield first, second


def _correlation(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Pearson's correlation of two grey images; 1 if both are uniform."""
    x, y = (image.astype(np.float64).ravel() - image.mean() for image in (a, b))
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / scale if scale else float(not x.any() and not y.any())


def _count_bits(numbers: Hashes) -> npt.NDArray[np.uint8]:
    """The number of ones of each number."""
    parts = _BIT_COUNTS[numbers.view(np.uint16)].reshape(*numbers.shape, 4)
    counts: npt.NDArray[np.uint8] = parts.sum(axis=-1, dtype=np.uint8)
    return counts


def _root(parents: npt.NDArray[np.int64], index: int) -> int:
    """The representative of an image's group."""
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = int(parents[index])
    return index
