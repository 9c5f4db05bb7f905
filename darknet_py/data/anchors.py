"""Anchors that fit a data set: Darknet's k-means (``calc_anchors``), and a search that finds better ones.

Sizes and anchors are [n, 2] arrays of width and height in pixels of the network's input (for a head of the
kind of YOLOv2 in cells of its map). How well anchors fit is the mean, over all objects, of the overlap with
the nearest anchor, both centred on one point. ``heads`` says which head gets which, and writes a cfg.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DataError
from ..files import atomic_write
from .data_file import Dataset

Sizes = npt.NDArray[np.float64]

_MOST = 1000  # rounds of k-means
_SEEN = 20_000  # objects that a mutation is judged by
_SMALL = 32  # width of an input, in cells, up to which Darknet writes decimals


def sizes(dataset: Dataset, width: int, height: int) -> Sizes:
    """Width and height of all objects for an input of ``width`` x ``height``. Raises DataError where there are none."""
    rows = [sample.targets[:, 2:4] for sample in dataset]
    found = np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 2))
    found = found[(found > 0).all(axis=1)]
    if not len(found):
        raise DataError(f"{dataset.source}: no objects with a size, so no anchors can fit them")
    return found * (width, height)


def counters(dataset: Dataset, classes: int = 0) -> list[int]:
    """Objects of each class, as ``counters_per_class=`` wants them; at least so many ``classes``."""
    numbers = [int(number) for sample in dataset for number in sample.targets[:, 4]]
    counts: list[int] = np.bincount(np.array(numbers, np.int64), minlength=classes).tolist()
    return counts


def overlaps(boxes: Sizes, anchors: Sizes) -> Sizes:
    """Intersection over union [boxes, anchors] of centred boxes."""
    inner = np.minimum(boxes[:, None], anchors[None]).prod(axis=2)
    result: Sizes = inner / (boxes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - inner)
    return result


def fit(boxes: Sizes, anchors: Sizes) -> float:
    """Mean overlap with the nearest anchor, 0..1: Darknet's "avg IoU" / 100."""
    return float(overlaps(boxes, anchors).max(axis=1).mean())


def by_area(anchors: Sizes) -> Sizes:
    """Smallest first."""
    ordered: Sizes = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
    return ordered


def kmeans(boxes: Sizes, centres: Sizes) -> Sizes:
    """Move ``centres`` until no box changes its nearest one (``do_kmeans``)."""
    centres, nearest = centres.copy(), np.zeros(len(boxes), np.intp)
    if len(centres) == 1:
        centres[0] = boxes.mean(axis=0)
        return centres
    for _ in range(_MOST):
        before, nearest = nearest, overlaps(boxes, centres).argmax(axis=1)
        if (before == nearest).all():
            break
        counts = np.bincount(nearest, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, side, len(centres)) for side in boxes.T], axis=1)
        centres[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return centres


def darknet(boxes: Sizes, count: int, rng: np.random.Generator) -> Sizes:
    """Darknet's anchors: k-means once, from random objects. Smallest first."""
    _enough(boxes, count)
    return by_area(kmeans(boxes, boxes[rng.permutation(len(boxes))[:count]]))


def search(boxes: Sizes, count: int, rng: np.random.Generator, *, restarts: int = 10, mutations: int = 1000) -> Sizes:
    """Better anchors: k-means from several spread starts (k-means++), then mutations of the best. Smallest first."""
    _enough(boxes, count)
    some = boxes if len(boxes) <= _SEEN else boxes[rng.choice(len(boxes), _SEEN, replace=False)]
    tries = [kmeans(some, _spread(some, count, rng)) for _ in range(restarts)]
    best = max(tries, key=lambda anchors: fit(some, anchors))
    reached = fit(some, best)
    for step in range(mutations):
        # A few sides at a time, by less and less.
        width = 0.2 * (1 - step / mutations) + 0.01
        changed = rng.random(best.shape) < max(0.3, 1 / best.size)
        other = best * np.exp(changed * rng.normal(0, width, best.shape))
        if (found := fit(some, other)) > reached:
            best, reached = other, found
    return by_area(best)


def _spread(boxes: Sizes, count: int, rng: np.random.Generator) -> Sizes:
    """Starts far from each other: the next is drawn by the square of its distance to those there are."""
    chosen = [int(rng.integers(len(boxes)))]
    distance = np.ones(len(boxes))
    for _ in range(count - 1):
        distance = np.minimum(distance, 1 - overlaps(boxes, boxes[chosen[-1:]])[:, 0])
        weights = distance.clip(0) ** 2
        total = weights.sum()
        chosen.append(int(rng.choice(len(boxes), p=weights / total if total else None)))
    return boxes[chosen]


def _enough(boxes: Sizes, count: int) -> None:
    if not 1 <= count <= len(boxes):
        raise DataError(f"{count} anchors: expected 1 to {len(boxes)}, the number of objects")


def text(anchors: Sizes, decimals: int = 0) -> str:
    """The value of an ``anchors=`` line, in Darknet's columns."""
    width = 2 if decimals else 3
    return ", ".join(f"{w:{width}.{decimals}f},{h:{width}.{decimals}f}" for w, h in anchors)


def calc_anchors(
    dataset: Dataset,
    count: int,
    width: int,
    height: int,
    *,
    classes: int = 1,
    folder: StrPath = ".",
    seed: int | None = None,
) -> Iterable[str]:
    """Do what ``detector calc_anchors`` does; returns the lines that it prints.

    Writes ``anchors.txt`` and ``counters_per_class.txt`` into ``folder``. Raises DataError.
    """
    if width < 1 or height < 1:
        raise DataError(f"calc_anchors: expected -width and -height of the network, got {width} and {height}")
    boxes = sizes(dataset, width, height)
    anchors = darknet(boxes, count, np.random.default_rng(seed))
    counted = "counters_per_class = " + ", ".join(map(str, counters(dataset, classes)))
    written = text(anchors, 0 if width > _SMALL else 4)
    _write(folder, "counters_per_class.txt", counted)
    _write(folder, "anchors.txt", written)
    yield f" num_of_clusters = {count}, width = {width}, height = {height} "
    yield f" read labels from {len(dataset)} images "
    yield counted
    yield f" avg IoU = {100 * fit(boxes, anchors):2.2f} % "
    yield "Saving anchors to the file: anchors.txt "
    yield f"anchors = {written}"


def _write(folder: StrPath, name: str, line: str) -> None:
    with atomic_write(pathlib.Path(os.fspath(folder), name), "w") as file:
        file.write(line)


def shares(strides: Sequence[int], count: int) -> list[list[int]]:
    """Masks for heads of these strides: ``count`` anchors, smallest first, in equal parts to the finest head first."""
    masks: list[list[int]] = [[] for _ in strides]
    order = sorted(range(len(strides)), key=strides.__getitem__)
    for head, part in zip(order, np.array_split(np.arange(count), len(strides)), strict=True):
        masks[head] = [int(number) for number in part]
    return masks
