"""The classes of an image for a classifier: the labels that its path holds (``fill_truth_smooth``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..layers import IGNORED_TARGET
from .labels import Problem

ClassVector = npt.NDArray[np.float32]


def found(image: str, labels: Sequence[str], problem: Callable[[Problem], None]) -> list[int]:
    """The numbers of the labels that are part of the path; other than one is a problem, and kept."""
    hits = [number for number, label in enumerate(labels) if label in image]
    if len(hits) != 1:
        what = ", ".join(labels[number] for number in hits) or "none"
        problem(Problem(image, f"expected one label in the path, found {what}"))
    return hits


def vector(hits: Sequence[int], count: int, smoothing: float = 0.0) -> ClassVector:
    """1 for the hits and 0 for the others of ``count`` classes.

    ``smoothing`` (label_smooth_eps) is taken from a hit and shared by the others.
    """
    out = np.full(count, smoothing / (count - 1) if count > 1 else 0.0, np.float32)
    out[list(hits)] = 1 - smoothing
    return out


def with_ancestors(
    classes: ClassVector, hits: Sequence[int], parents: Sequence[int], groups: Sequence[int]
) -> ClassVector:
    """Classes of a tree: ancestors of a hit are 1 too, groups without a hit are ignored (``fill_hierarchy``)."""
    out = classes.copy()
    reached = set(hits)
    for hit in hits:
        parent = parents[hit]
        while parent >= 0:
            reached.add(parent)
            out[parent] = 1
            parent = parents[parent]
    known = {groups[number] for number in reached}
    out[[group not in known for group in groups]] = IGNORED_TARGET
    return out
