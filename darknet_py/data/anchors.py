"""Anchors for a data set: Darknet's k-means (``calc_anchors``), and a search that finds better ones.

Boxes and anchors are float64 [n, 2], width and height in pixels of the network's input (for a YOLOv2 head in cells of
its map). The quality of anchors is the mean, over all objects, of the IoU with the best anchor, both centred on one
point. ``anchor_cfg`` assigns anchors to heads and writes them into a cfg.
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
from .dataset import Dataset

BoxSizes = npt.NDArray[np.float64]  # [n, 2]: width, height

_MAX_ITERATIONS = 1000  # of k-means
_MAX_SEARCH_BOXES = 20_000  # objects that a mutation is evaluated on
_MAX_CELLS = 32  # width of an input in cells, up to which Darknet writes decimals


def collect_sizes(dataset: Dataset, width: int, height: int) -> BoxSizes:
    """Return the size of every object in an input of ``width`` x ``height``: float64 [n, 2].

    Objects whose centre or size is outside 0..1 of the image are left out; Darknet reports them and uses them.

    Raises:
        DataError: the data set has no such objects.
    """
    rows = [sample.targets[:, :4] for sample in dataset]
    boxes = np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 4))
    sizes = boxes[((boxes > 0) & (boxes <= 1)).all(axis=1), 2:]
    if not len(sizes):
        raise DataError(f"{dataset.source}: expected objects to compute anchors from, found none")
    return sizes * (width, height)


def count_classes(dataset: Dataset, classes: int = 0) -> list[int]:
    """Count the objects of each class (the value of ``counters_per_class=``), for ``classes`` classes or more."""
    numbers = [int(number) for sample in dataset for number in sample.targets[:, 4]]
    counts: list[int] = np.bincount(np.array(numbers, np.int64), minlength=classes).tolist()
    return counts


def size_iou(boxes: BoxSizes, anchors: BoxSizes) -> BoxSizes:
    """Compute the IoU of boxes [n, 2] and anchors [m, 2] with a common centre: float64 [n, m]."""
    intersection = np.minimum(boxes[:, None], anchors[None]).prod(axis=2)
    result: BoxSizes = intersection / (boxes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - intersection)
    return result


def mean_best_iou(boxes: BoxSizes, anchors: BoxSizes) -> float:
    """Compute the mean over boxes [n, 2] of the IoU with the best anchor [m, 2], 0..1: Darknet's "avg IoU" / 100."""
    return float(size_iou(boxes, anchors).max(axis=1).mean())


def sort_by_area(anchors: BoxSizes) -> BoxSizes:
    """Sort anchors, float64 [n, 2], by area, smallest first."""
    ordered: BoxSizes = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
    return ordered


def run_kmeans(boxes: BoxSizes, centres: BoxSizes) -> BoxSizes:
    """Run k-means with the distance 1 - IoU until no assignment changes (``do_kmeans``).

    Args:
        boxes: float64 [n, 2].
        centres: initial centres, float64 [k, 2].

    Returns:
        The centres, float64 [k, 2].
    """
    centres = centres.copy()
    nearest = np.zeros(len(boxes), np.intp)
    if len(centres) == 1:
        centres[0] = boxes.mean(axis=0)
        return centres
    for _ in range(_MAX_ITERATIONS):
        before, nearest = nearest, size_iou(boxes, centres).argmax(axis=1)
        if (before == nearest).all():
            break
        counts = np.bincount(nearest, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, side, len(centres)) for side in boxes.T], axis=1)
        centres[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return centres


def cluster_anchors(boxes: BoxSizes, count: int, rng: np.random.Generator) -> BoxSizes:
    """Compute anchors as Darknet does: one k-means from random boxes.

    Args:
        boxes: float64 [n, 2].
        count: number of anchors.
        rng: random number generator.

    Returns:
        float64 [count, 2], smallest first.

    Raises:
        DataError: there are fewer boxes than anchors.
    """
    _check_count(boxes, count)
    return sort_by_area(run_kmeans(boxes, boxes[rng.permutation(len(boxes))[:count]]))


def search_anchors(
    boxes: BoxSizes, count: int, rng: np.random.Generator, *, restarts: int = 10, mutations: int = 1000
) -> BoxSizes:
    """Search for better anchors: k-means from several k-means++ initialisations, then random mutations of the best.

    Args:
        boxes: float64 [n, 2].
        count: number of anchors.
        rng: random number generator.
        restarts: runs of k-means.
        mutations: mutations of the best result; one is kept if it improves the mean best IoU.

    Returns:
        float64 [count, 2], smallest first.

    Raises:
        DataError: there are fewer boxes than anchors.
    """
    _check_count(boxes, count)
    subset = boxes
    if len(boxes) > _MAX_SEARCH_BOXES:
        subset = boxes[rng.choice(len(boxes), _MAX_SEARCH_BOXES, replace=False)]
    candidates = [run_kmeans(subset, _kmeans_plus_plus(subset, count, rng)) for _ in range(restarts)]
    best = max(candidates, key=lambda anchors: mean_best_iou(subset, anchors))
    best_iou = mean_best_iou(subset, best)
    for step in range(mutations):
        # Mutate some sides at a time, with a decreasing standard deviation.
        deviation = 0.2 * (1 - step / mutations) + 0.01
        mutated = rng.random(best.shape) < max(0.3, 1 / best.size)
        candidate = best * np.exp(mutated * rng.normal(0, deviation, best.shape))
        if (candidate_iou := mean_best_iou(subset, candidate)) > best_iou:
            best, best_iou = candidate, candidate_iou
    return sort_by_area(best)


def _kmeans_plus_plus(boxes: BoxSizes, count: int, rng: np.random.Generator) -> BoxSizes:
    """Initial centres: each is sampled with the squared distance to the nearest earlier one as its weight."""
    chosen = [int(rng.integers(len(boxes)))]
    distance = np.ones(len(boxes))
    for _ in range(count - 1):
        distance = np.minimum(distance, 1 - size_iou(boxes, boxes[chosen[-1:]])[:, 0])
        weights = distance.clip(0) ** 2
        total = weights.sum()
        chosen.append(int(rng.choice(len(boxes), p=weights / total if total else None)))
    return boxes[chosen]


def _check_count(boxes: BoxSizes, count: int) -> None:
    if not 1 <= count <= len(boxes):
        raise DataError(f"{count} anchors: expected 1 to {len(boxes)}, the number of objects")


def format_anchors(anchors: BoxSizes, decimals: int = 0) -> str:
    """Format anchors, float64 [n, 2], as the value of an ``anchors=`` line, in Darknet's columns."""
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
    """Write ``anchors.txt`` and ``counters_per_class.txt``, as Darknet's ``detector calc_anchors`` does.

    Args:
        dataset: the data set.
        count: number of anchors.
        width: width of the network's input.
        height: height of the network's input.
        classes: minimum number of classes to count.
        folder: where the files are written.
        seed: seed of k-means.

    Yields:
        The lines that Darknet prints.

    Raises:
        DataError: the size is missing, there are too few objects, or a file cannot be written.
    """
    if width < 1 or height < 1:
        raise DataError(f"calc_anchors: expected -width and -height of the network, got {width} and {height}")
    boxes = collect_sizes(dataset, width, height)
    anchors = cluster_anchors(boxes, count, np.random.default_rng(seed))
    counters = "counters_per_class = " + ", ".join(map(str, count_classes(dataset, classes)))
    anchor_text = format_anchors(anchors, 0 if width > _MAX_CELLS else 4)
    _write_line(folder, "counters_per_class.txt", counters)
    _write_line(folder, "anchors.txt", anchor_text)
    yield f" num_of_clusters = {count}, width = {width}, height = {height} "
    yield f" read labels from {len(dataset)} images "
    yield counters
    yield f" avg IoU = {100 * mean_best_iou(boxes, anchors):2.2f} % "
    yield "Saving anchors to the file: anchors.txt "
    yield f"anchors = {anchor_text}"


def _write_line(folder: StrPath, name: str, line: str) -> None:
    with atomic_write(pathlib.Path(os.fspath(folder), name), "w") as file:
        file.write(line)


def split_masks(strides: Sequence[int], count: int) -> list[list[int]]:
    """Divide ``count`` anchors, smallest first, equally over heads of these strides, the finest head first.

    Args:
        strides: pixels per cell of each head, or any numbers in the same order.
        count: number of anchors.

    Returns:
        The mask of each head: indices of its anchors.
    """
    masks: list[list[int]] = [[] for _ in strides]
    order = sorted(range(len(strides)), key=strides.__getitem__)
    for head, part in zip(order, np.array_split(np.arange(count), len(strides)), strict=True):
        masks[head] = [int(number) for number in part]
    return masks
