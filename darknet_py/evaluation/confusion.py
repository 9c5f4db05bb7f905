"""``confusion``: which classes are taken for which, counted over boxes that lie on objects."""

from __future__ import annotations

import numpy as np
import torch

from .. import boxes
from .average_precision import Objects
from .detections import Detections, Floats, Integers


def confusion(
    found: Detections, targets: Objects, classes: int, threshold: float = 0.25, iou_threshold: float = 0.5
) -> Integers:
    """[classes + 1, classes + 1] counts: predicted by row, true by column, the last of both being "nothing".

    Detections above ``threshold`` and objects that count are paired by their overlap, the largest first,
    whatever their classes, as long as it is above ``iou_threshold``; what is left over belongs to "nothing".
    """
    table = np.zeros((classes + 1, classes + 1), np.int64)
    rows = np.flatnonzero(found.confidence > threshold)
    columns = np.flatnonzero(~targets.ignored)
    for image in range(len(found.sizes)):
        mine = rows[found.image[rows] == image]
        theirs = columns[targets.image[columns] == image]
        predicted = np.append(found.classes[mine], classes)
        true = np.append(targets.classes[theirs], classes)
        a, b = _pairs(found.boxes[mine], targets.boxes[theirs], iou_threshold)
        np.add.at(table, (predicted[a], true[b]), 1)
        table[:, classes] += np.bincount(np.delete(predicted[:-1], a), minlength=classes + 1)
        table[classes] += np.bincount(np.delete(true[:-1], b), minlength=classes + 1)
    return table


def _pairs(a: Floats, b: Floats, threshold: float) -> tuple[Integers, Integers]:
    """Places in ``a`` and ``b`` [n, 4] that belong together."""
    shared = np.asarray(boxes.iou(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]))
    first, second = np.nonzero(shared > threshold)
    order = np.argsort(-shared[first, second], kind="stable")
    first, second = first[order], second[order]
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    pairs = []
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if one not in taken_a and other not in taken_b:
            taken_a.add(one)
            taken_b.add(other)
            pairs.append((one, other))
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
