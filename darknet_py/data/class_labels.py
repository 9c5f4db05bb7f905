"""Targets of a classifier: the labels that occur in the path of an image (``fill_truth_smooth``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..layers import IGNORED_TARGET
from .labels import Problem

ClassVector = npt.NDArray[np.float32]  # [classes]


def match_labels(image: str, labels: Sequence[str], on_problem: Callable[[Problem], None]) -> list[int]:
    """Return the classes whose label occurs in a path; none or several are reported as a problem."""
    matches = [number for number, label in enumerate(labels) if label in image]
    if len(matches) != 1:
        listed = ", ".join(labels[number] for number in matches) or "none"
        on_problem(Problem(image, f"expected one label in the path, found {listed}"))
    return matches


def encode_classes(numbers: Sequence[int], count: int, smoothing: float = 0.0) -> ClassVector:
    """Encode classes as a vector.

    Args:
        numbers: the classes.
        count: number of all classes.
        smoothing: label smoothing (``label_smooth_eps``), subtracted from the classes and distributed over the others.

    Returns:
        float32 [count], 1 for the classes and 0 for the others, before smoothing.
    """
    out = np.full(count, smoothing / (count - 1) if count > 1 else 0.0, np.float32)
    out[list(numbers)] = 1 - smoothing
    return out


def add_ancestors(
    classes: ClassVector, numbers: Sequence[int], parents: Sequence[int], groups: Sequence[int]
) -> ClassVector:
    """Set the ancestors of classes in a class tree, as ``fill_hierarchy`` does.

    Args:
        classes: float32 [classes].
        numbers: the classes of the image.
        parents: parent of each class; -1 for a root.
        groups: group of each class.

    Returns:
        float32 [classes]: 1 for the ancestors, ``IGNORED_TARGET`` in groups that contain no class of the image.
    """
    out = classes.copy()
    reached = set(numbers)
    for number in numbers:
        parent = parents[number]
        while parent >= 0:
            reached.add(parent)
            out[parent] = 1
            parent = parents[parent]
    known_groups = {groups[number] for number in reached}
    out[[group not in known_groups for group in groups]] = IGNORED_TARGET
    return out
