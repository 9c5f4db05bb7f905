"""Targets of a classifier: the labels that occur in the path of an image (``fill_truth_smooth``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..layers import IGNORED_TARGET
from .labels import Problem

ClassVector = npt.NDArray[np.float32]  # [classes]


class LabelMatch(NamedTuple):
    """The classes of an image.

    Attributes:
        classes: numbers of the classes, ascending.
        dropped: numbers of the classes whose label occurs in the path too, which Darknet would take.
        rule: why those are dropped; empty if there are none.
    """

    classes: list[int]
    dropped: list[int]
    rule: str

    def problem(self, image: str, labels: Sequence[str]) -> Problem | None:
        """Return what is wrong with the labels of an image, if anything."""
        if len(self.classes) == 1:
            return None
        listed = ", ".join(labels[number] for number in self.classes) or "none"
        return Problem(image, f"expected one label in the path, found {listed}")

    def note(self, image: str, labels: Sequence[str]) -> Problem | None:
        """Return which labels were dropped, if any."""
        if not self.dropped:
            return None
        taken, dropped = (", ".join(labels[n] for n in numbers) for numbers in (self.classes, self.dropped))
        return Problem(
            image,
            f"label {taken} by whole words of {self.rule}; Darknet takes {dropped} as well",
            "images have several labels in their path, of which whole words are preferred",
        )


def match_labels(image: str, labels: Sequence[str]) -> LabelMatch:
    """Find the labels that occur in a path.

    Darknet takes all that occur anywhere in it. Of several labels only those are taken here that are whole words of the
    file's name without suffix; else those of the innermost folder that has any; else all.
    """
    found = [number for number, label in enumerate(labels) if label in image]
    if len(found) < 2:
        return LabelMatch(found, [], "")
    *folders, name = image.replace("\\", "/").split("/")
    parts = (name.rpartition(".")[0] or name, *reversed(folders))
    for depth, part in enumerate(parts):
        words = [number for number in found if _is_word(labels[number], part)]
        # Of hot_dog and dog the longer one.
        words = [n for n in words if not any(labels[n] in labels[m] and labels[n] != labels[m] for m in words)]
        if words:
            dropped = [number for number in found if number not in words]
            return LabelMatch(words, dropped, ("a folder" if depth else "the file's name") if dropped else "")
    return LabelMatch(found, [], "")


def _is_word(label: str, text: str) -> bool:
    """Whether a label occurs in a text without a letter or digit next to one at its own end."""
    before = r"(?<![^\W_])" if label[:1].isalnum() else ""
    after = r"(?![^\W_])" if label[-1:].isalnum() else ""
    return re.search(f"{before}{re.escape(label)}{after}", text) is not None


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
