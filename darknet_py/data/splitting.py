"""Split a data set into lists for training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .dataset import Dataset, Sample

Counts = npt.NDArray[np.float64]


def split_dataset(
    dataset: Dataset, fractions: Mapping[str, float], *, groups: npt.NDArray[np.int64] | None = None, seed: int = 0
) -> dict[str, Dataset]:
    """Split a data set at random, so that every list has its share of the images of each class.

    Iterative stratification (https://doi.org/10.1007/978-3-642-23808-6_10): the images of the rarest class first, each
    into the list that lacks most of its share of that class.

    Args:
        dataset: the data set.
        fractions: part of the images in each list, all above 0, with the sum 1.
        groups: number of each image's group, int64 [n]; a group is not divided. None: each image is one.
        seed: random seed.

    Returns:
        The lists, each in the order of the data set. Problems of the data set are those of the first one.

    Raises:
        DataError: the fractions are wrong, or there are fewer groups than lists.
    """
    if not all(fraction > 0 for fraction in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-9:
        text = ", ".join(f"{subset} {fraction:g}" for subset, fraction in fractions.items())
        raise DataError(f"{dataset.source}: expected fractions above 0 with the sum 1, got {text}")
    numbers = np.arange(len(dataset)) if groups is None else groups
    _, group_of = np.unique(numbers, return_inverse=True)
    count = int(group_of.max(initial=-1)) + 1
    if count < len(fractions):
        kind = "images" if groups is None else "images that are no near-duplicates of each other"
        lists = " and ".join(fractions)
        raise DataError(f"{dataset.source}: expected at least {len(fractions)} {kind} for {lists}, found {count}")
    shares = np.array(list(fractions.values()))
    chosen = _assign(_count_images(dataset, group_of, count), shares, np.random.default_rng(seed))
    parts: dict[str, list[Sample]] = {subset: [] for subset in fractions}
    for sample, group in zip(dataset, group_of.tolist(), strict=True):
        parts[list(fractions)[chosen[group]]].append(sample)
    return {
        subset: replace(dataset, samples=samples, problems=() if number else dataset.problems, annotations="")
        for number, (subset, samples) in enumerate(parts.items())
    }


def _count_images(dataset: Dataset, group_of: npt.NDArray[np.intp], groups: int) -> Counts:
    """The images of each group that have each class, and in the last column all: [groups, classes + 1]."""
    used = [sorted({int(cls) for cls in sample.targets[:, 4]}) for sample in dataset]
    classes = max((numbers[-1] for numbers in used if numbers), default=-1) + 1
    counts = np.zeros((groups, classes + 1))
    for numbers, group in zip(used, group_of.tolist(), strict=True):
        counts[group, [*numbers, classes]] += 1
    return counts


def _assign(counts: Counts, shares: Counts, rng: np.random.Generator) -> Sequence[int]:
    """The list of each group. Every list gets at least one group."""
    lacking = shares[:, None] * counts.sum(axis=0)  # [lists, classes + 1]
    chosen = np.full(len(counts), -1)
    open_groups = rng.permutation(len(counts))
    while len(open_groups):
        remaining = counts[open_groups].sum(axis=0)
        rarest = int(np.where(remaining[:-1] > 0, remaining[:-1], np.inf).argmin()) if remaining[:-1].any() else -1
        has_class = counts[open_groups, rarest] > 0
        # Large groups first: small ones can make up for them.
        members = open_groups[has_class]
        for group in members[np.argsort(-counts[members, -1], kind="stable")]:
            place = max(range(len(shares)), key=lambda one: (lacking[one, rarest], lacking[one, -1], -one))
            chosen[group] = place
            lacking[place] -= counts[group]
        open_groups = open_groups[~has_class]
    for place in range(len(shares)):
        if not (chosen == place).any():
            largest = np.bincount(chosen, minlength=len(shares)).argmax()
            candidates = np.flatnonzero(chosen == largest)
            chosen[candidates[counts[candidates, -1].argmin()]] = place
    result: list[int] = chosen.tolist()
    return result
