"""Which detection found which object, and what that makes: curves of precision and recall, and their areas.

Two rules of matching stand here, each as its tool has it, because nearly all differences between tools
come from them:

* ``darknet`` (``detector.c validate_detector_map``): a detection belongs to the object of its class that it
  overlaps most, and by more than the threshold. What overlaps an ignored object alone does not count.
* ``voc07`` (VOC devkit, http://host.robots.ox.ac.uk/pascal/VOC/voc2007): ignored objects compete with the
  others, overlap is counted in whole pixels, both edges included, and may equal the threshold.

In both, the strongest detection of an object is right and every other is wrong, even where another object
is free: no detection is matched twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .. import boxes
from ..data.data_file import Dataset
from .detections import Detections, Floats, Integers

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Measure = Callable[[Floats, Floats, Integers], Floats]  # boxes, boxes, width and height of the image


@dataclass(frozen=True)
class Objects:
    """The targets of a data set as columns, by image: image [n], boxes [n, 4], classes [n], ignored [n]."""

    image: Integers
    boxes: Floats
    classes: Integers
    ignored: Bools

    def counts(self, classes: int) -> Integers:
        """[classes] objects that count."""
        return np.bincount(self.classes[~self.ignored], minlength=classes)


def objects(dataset: Dataset) -> Objects:
    """The targets of a data set."""
    rows = [part for sample in dataset for part in (sample.targets, sample.ignored)]
    table = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
    counts = [len(part) for part in rows]
    number = np.repeat(np.arange(len(rows)), counts)
    return Objects(number // 2, table[:, :4], table[:, 4].astype(np.int64), number % 2 == 1)


@dataclass(frozen=True)
class Matches:
    """For each detection: the number of its object or -1, their overlap, and whether it counts."""

    target: Integers
    overlap: Floats
    counted: Bools


def match_darknet(found: Detections, targets: Objects, threshold: float = 0.5) -> Matches:
    """Match by Darknet's rule; ``threshold``: overlap that must be exceeded."""
    target, overlap = np.full(len(found), -1), np.zeros(len(found), np.float32)
    counted = np.ones(len(found), np.bool_)
    limit = np.float32(threshold)
    for rows, columns, shared in _by_image(found, targets, _overlap):
        for ignored in (False, True):
            where = columns[targets.ignored[columns] == ignored]
            part = shared[:, where - columns[0]]
            if not part.size:
                continue
            best = part.argmax(axis=1)
            most = part.max(axis=1)
            hit = (most > limit) & (target[rows] < 0)
            if ignored:
                counted[rows] &= ~hit
            else:
                target[rows], overlap[rows] = np.where(hit, where[best], -1), np.where(hit, most, 0)
    return Matches(target, overlap, counted)


def match_voc(found: Detections, targets: Objects, threshold: float = 0.5) -> Matches:
    """Match by the VOC devkit's rule; ``threshold``: overlap that must be reached."""
    target, overlap = np.full(len(found), -1), np.zeros(len(found), np.float32)
    counted = np.ones(len(found), np.bool_)
    for rows, columns, shared in _by_image(found, targets, _overlap_of_pixels):
        best, most = shared.argmax(axis=1), shared.max(axis=1)
        hit = most >= threshold
        counted[rows] = ~(hit & targets.ignored[columns][best])
        target[rows], overlap[rows] = np.where(hit, columns[best], -1), np.where(hit, most, 0)
    return Matches(target, overlap, counted)


def _by_image(found: Detections, targets: Objects, measure: Measure) -> Iterator[tuple[slice, Integers, Floats]]:
    """Of each image with both: its detections, its objects, and [detections, objects] overlap, 0 between classes."""
    images = np.arange(len(found.sizes) + 1)
    rows, columns = (np.searchsorted(table.image, images) for table in (found, targets))
    for n in range(len(found.sizes)):
        mine, theirs = slice(rows[n], rows[n + 1]), slice(columns[n], columns[n + 1])
        if mine.start < mine.stop and theirs.start < theirs.stop:
            shared = measure(found.boxes[mine], targets.boxes[theirs], found.sizes[n])
            same = found.classes[mine, None] == targets.classes[None, theirs]
            yield mine, np.arange(theirs.start, theirs.stop), np.where(same, shared, 0)


def _overlap(a: Floats, b: Floats, size: Integers) -> Floats:
    shared: Floats = boxes.iou(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]).numpy()
    return shared


def _overlap_of_pixels(a: Floats, b: Floats, size: Integers) -> Floats:
    """With the pixels of both edges, after what is outside the image has been cut off."""
    unit = np.tile(size, 2)
    p, q = (
        np.concatenate((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), axis=1).astype(np.float64)
        for xywh in (a, b)
    )
    p, q = p * unit + 1, q * unit + 1
    p[:, :2], p[:, 2:] = np.maximum(p[:, :2], 1), np.minimum(p[:, 2:], size)
    sides = np.minimum(p[:, None, 2:], q[None, :, 2:]) - np.maximum(p[:, None, :2], q[None, :, :2]) + 1
    shared = sides.clip(min=0).prod(axis=2)
    area_p, area_q = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (p, q))
    ratio: Floats = (shared / (area_p[:, None] + area_q[None] - shared)).astype(np.float32)
    return ratio


@dataclass(frozen=True)
class Curve:
    """Precision and recall after each detection that counts, the most confident first; ``targets``: objects."""

    confidence: Floats
    precision: Doubles
    recall: Doubles
    targets: int

    @property
    def f1(self) -> Doubles:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    def average_precision(self, points: int = 0) -> float:
        """Area under the curve, made monotone; with ``points`` the mean precision at so many recalls (0..1)."""
        if not len(self.recall):
            return 0.0
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        if points == 0:
            return float((np.diff(self.recall, prepend=0.0) * best).sum())
        # Times the reciprocal, as the compiler makes it of C's division (and as VOC's and COCO's tools have it):
        # 6 * 0.1 is above 0.6, so that a recall of 3 / 5 does not reach the seventh of eleven points.
        at = np.searchsorted(self.recall, np.arange(points) * (1 / (points - 1)), side="left")
        return float(np.append(best, 0.0)[at].mean())

    def best(self) -> tuple[float, float]:
        """The confidence at and above which F1 is highest, and that F1; 0, 0 of nothing."""
        if not len(self.confidence):
            return 0.0, 0.0
        last = np.append(self.confidence[1:] != self.confidence[:-1], True)  # of equals all are taken, or none
        at = int(np.where(last, self.f1, -1).argmax())
        return float(self.confidence[at]), float(self.f1[at])


def ranked(found: Detections, matches: Matches) -> tuple[Integers, Bools]:
    """Detections that count, most confident first, and which are right: the first of each object is."""
    order = np.argsort(-found.confidence, kind="stable")
    order = order[matches.counted[order]]
    return order, _first(matches.target[order])


def _first(target: Integers) -> Bools:
    """Which places are the first with their number; -1 is none."""
    numbers, at = np.unique(target, return_index=True)
    first = np.zeros(len(target), np.bool_)
    first[at[numbers >= 0]] = True
    return first


def curve(confidence: Floats, right: Bools, targets: int) -> Curve:
    """The curve of detections in their order."""
    hits = np.cumsum(right, dtype=np.float64)
    return Curve(confidence, hits / np.arange(1, len(right) + 1), hits / targets if targets else 0 * hits, targets)


def curves(found: Detections, matches: Matches, targets: Sequence[int] | Integers) -> list[Curve]:
    """The curve of each class; ``targets``: their objects."""
    order, right = ranked(found, matches)
    classes = found.classes[order]
    made = []
    for number, count in enumerate(targets):
        mine = classes == number
        made.append(curve(found.confidence[order][mine], right[mine], int(count)))
    return made


def overall(found: Detections, matches: Matches, targets: int) -> Curve:
    """The curve of all classes together."""
    order, right = ranked(found, matches)
    return curve(found.confidence[order], right, targets)


@dataclass(frozen=True)
class Counts:
    """Right and wrong detections above a confidence, by class, and the mean overlap of all (wrong: 0)."""

    right: Integers
    wrong: Integers
    overlap: float


def count_darknet(found: Detections, matches: Matches, threshold: float, classes: int) -> Counts:
    """TP and FP as ``detector map`` prints them.

    Here alone the first detection of an object is the first in C's order, not the most confident, and what
    overlaps an ignored object is wrong.
    """
    above = found.confidence > np.float32(threshold)
    right = above & _first(matches.target)
    wrong = above & ~right
    hits, misses = (np.bincount(found.classes[part], minlength=classes) for part in (right, wrong))
    return Counts(hits, misses, float(matches.overlap[right].sum()) / max(1, int(above.sum())))


def count(found: Detections, matches: Matches, threshold: float, classes: int) -> Counts:
    """TP and FP by the curve's own rule."""
    order, first = ranked(found, matches)
    above = found.confidence[order] > np.float32(threshold)
    right, wrong = order[above & first], order[above & ~first]
    hits, misses = (np.bincount(found.classes[part], minlength=classes) for part in (right, wrong))
    return Counts(hits, misses, float(matches.overlap[right].sum()) / max(1, int(above.sum())))
