"""Confusion matrix of a detector: which classes are predicted for which ground truth."""

from __future__ import annotations

import numpy as np
import torch

from .. import boxes
from .average_precision import GroundTruth
from .detections import Detections, Floats, Integers


def compute_confusion_matrix(
    detections: Detections,
    targets: GroundTruth,
    classes: int,
    score_threshold: float = 0.25,
    match_iou: float = 0.5,
) -> Integers:
    """Count pairs of predicted and true class.

    Detections above ``score_threshold`` and ground-truth boxes that are not ignored are paired regardless of class,
    greedily by descending IoU, if it exceeds ``match_iou``. Unpaired ones are counted with "background".

    Returns:
        int64 [classes + 1, classes + 1], predicted class by row, true class by column; the last is "background".
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    rows = np.flatnonzero(detections.confidence > score_threshold)
    columns = np.flatnonzero(~targets.ignored)
    for image in range(len(detections.sizes)):
        of_image = rows[detections.image[rows] == image]
        target_of_image = columns[targets.image[columns] == image]
        predicted = np.append(detections.classes[of_image], classes)
        true = np.append(targets.classes[target_of_image], classes)
        a, b = _pair(detections.boxes[of_image], targets.boxes[target_of_image], match_iou)
        np.add.at(matrix, (predicted[a], true[b]), 1)
        matrix[:, classes] += np.bincount(np.delete(predicted[:-1], a), minlength=classes + 1)
        matrix[classes] += np.bincount(np.delete(true[:-1], b), minlength=classes + 1)
    return matrix


def _pair(a: Floats, b: Floats, match_iou: float) -> tuple[Integers, Integers]:
    """Rows of ``a`` [n, 4] and ``b`` [m, 4] that are paired greedily by IoU."""
    ious = np.asarray(boxes.iou(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]))
    rows, columns = np.nonzero(ious > match_iou)
    order = np.argsort(-ious[rows, columns], kind="stable")
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    pairs = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
