"""Where a loader's images and their targets come from: the objects of a data set, or labels in paths."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data import class_labels
from ..data.dataset import Dataset
from ..data.labels import Problem
from ..messages import get_logger
from .loader import Array

_IDENTITIES_PER_IMAGE = 4000  # objects of one image that Darknet keeps apart for tracking
Tree = tuple[list[int], list[int]]  # parent and group of every class

_log = get_logger(__name__)


@dataclass
class Objects:
    """The source of a detector's images. ``identified``: targets have a sixth column, the identity of the object."""

    dataset: Dataset
    identified: bool = False

    @property
    def problems(self) -> Sequence[Problem]:
        """Of the labels."""
        return self.dataset.problems

    def __len__(self) -> int:
        """Images."""
        return len(self.dataset)

    def image(self, index: int) -> str:
        """The file."""
        return self.dataset.samples[index].image

    def target(self, index: int) -> Array:
        """The objects, float32 [n, 5] (cx, cy, w, h relative to the image, class) or [n, 6] (also the identity)."""
        targets = self.dataset.samples[index].targets
        if not self.identified:
            return targets
        numbers = np.arange(len(targets)) + index % _IDENTITIES_PER_IMAGE * _IDENTITIES_PER_IMAGE
        return np.concatenate((targets, numbers[:, None]), axis=1, dtype=np.float32)


@dataclass
class Classes:
    """The source of a classifier's images: ``count`` classes, found by the labels in the images' paths.

    A path is searched when it is drawn, as lists can be long; ``problems`` are those of the paths so far.
    """

    images: Sequence[str]
    labels: Sequence[str]
    count: int
    smoothing: float = 0.0
    tree: Tree | None = None
    problems: list[Problem] = field(default_factory=list)
    _reported: set[Problem] = field(default_factory=set, init=False, repr=False)
    _kinds: set[str] = field(default_factory=set, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __len__(self) -> int:
        """Images."""
        return len(self.images)

    def image(self, index: int) -> str:
        """The file."""
        return self.images[index]

    def target(self, index: int) -> Array:
        """The classes of the image, float32 [count]."""
        if not self.labels:
            return class_labels.encode_classes([index % self.count], self.count)
        match = class_labels.match_labels(self.images[index], self.labels)
        hits = match.classes
        for problem in (match.problem(self.images[index], self.labels), match.note(self.images[index], self.labels)):
            if problem is not None:
                self._report(problem)
        vector = class_labels.encode_classes(hits, self.count, self.smoothing)
        return class_labels.add_ancestors(vector, hits, *self.tree) if self.tree else vector

    def _report(self, problem: Problem) -> None:
        """Log a problem once, and of a kind the first one only. The loader's threads share this object."""
        with self._lock:
            if problem in self._reported:
                return
            first = not problem.kind or problem.kind not in self._kinds
            self._reported.add(problem)
            self._kinds.add(problem.kind)
            self.problems.append(problem)
        if first:
            _log.warning("%s", problem)
