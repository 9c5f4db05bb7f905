"""Matching of detections to ground truth, precision-recall curves, and their average precision.

There are two matching rules, each as its tool has it, because nearly all differences between tools come from them:

* ``darknet`` (``detector.c validate_detector_map``): a detection is matched to the ground-truth box of its class
  with the largest IoU, if that exceeds the threshold. One that matches nothing but an ignored box does not count.
* ``voc07`` (VOCevaldet.m of the VOC devkit, http://host.robots.ox.ac.uk/pascal/VOC/voc2007): ignored boxes compete
  with the others, IoU is computed in whole pixels with both edges included, and may equal the threshold.

In both, the most confident detection matched to a ground-truth box is a true positive and every other is a false
positive, even where another ground-truth box is unmatched: a detection is compared with one box only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .. import boxes
from ..data.dataset import Dataset
from .detections import Detections, Floats, Integers

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
PairwiseIoU = Callable[[Floats, Floats, Integers], Floats]  # boxes [n, 4], boxes [m, 4], image size -> [n, m]


@dataclass(frozen=True)
class GroundTruth:
    """The ground-truth boxes of a data set as columns, sorted by image.

    Attributes:
        image: int64 [n], index of the image in the data set.
        boxes: float32 [n, 4], (cx, cy, w, h) relative to the image.
        classes: int64 [n].
        ignored: bool [n], boxes to leave out of the evaluation (VOC's difficult, COCO's crowd).
    """

    image: Integers
    boxes: Floats
    classes: Integers
    ignored: Bools

    @staticmethod
    def from_dataset(dataset: Dataset) -> GroundTruth:
        """Collect the ground truth of all images."""
        rows = [part for sample in dataset for part in (sample.targets, sample.ignored)]
        table = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
        counts = [len(part) for part in rows]
        index = np.repeat(np.arange(len(rows)), counts)
        return GroundTruth(index // 2, table[:, :4], table[:, 4].astype(np.int64), index % 2 == 1)

    def count_per_class(self, classes: int) -> Integers:
        """Count the boxes that are not ignored: int64 [classes]."""
        return np.bincount(self.classes[~self.ignored], minlength=classes)


@dataclass(frozen=True)
class TargetMatches:
    """For each detection, the ground-truth box it is matched to.

    Attributes:
        target: int64 [n], row in ``GroundTruth``, -1 for none.
        iou: float32 [n], IoU with that box, 0 for none.
        counted: bool [n], False for detections that are neither true nor false positives.
    """

    target: Integers
    iou: Floats
    counted: Bools


def match_darknet(detections: Detections, targets: GroundTruth, match_iou: float = 0.5) -> TargetMatches:
    """Match detections by Darknet's rule (``validate_detector_map``); the IoU must exceed ``match_iou``."""
    target = np.full(len(detections), -1)
    iou = np.zeros(len(detections), np.float32)
    counted = np.ones(len(detections), np.bool_)
    limit = np.float32(match_iou)
    for rows, columns, ious in _by_image(detections, targets, _pairwise_iou):
        for ignored in (False, True):
            candidates = columns[targets.ignored[columns] == ignored]
            part = ious[:, candidates - columns[0]]
            if not part.size:
                continue
            best = part.argmax(axis=1)
            best_iou = part.max(axis=1)
            hit = (best_iou > limit) & (target[rows] < 0)
            if ignored:
                counted[rows] &= ~hit
            else:
                target[rows] = np.where(hit, candidates[best], -1)
                iou[rows] = np.where(hit, best_iou, 0)
    return TargetMatches(target, iou, counted)


def match_voc(detections: Detections, targets: GroundTruth, match_iou: float = 0.5) -> TargetMatches:
    """Match detections by the VOC devkit's rule (VOCevaldet.m); the IoU must reach ``match_iou``."""
    target = np.full(len(detections), -1)
    iou = np.zeros(len(detections), np.float32)
    counted = np.ones(len(detections), np.bool_)
    for rows, columns, ious in _by_image(detections, targets, _pairwise_iou_of_pixels):
        best = ious.argmax(axis=1)
        best_iou = ious.max(axis=1)
        hit = best_iou >= match_iou
        counted[rows] = ~(hit & targets.ignored[columns][best])
        target[rows] = np.where(hit, columns[best], -1)
        iou[rows] = np.where(hit, best_iou, 0)
    return TargetMatches(target, iou, counted)


def _by_image(
    detections: Detections, targets: GroundTruth, pairwise_iou: PairwiseIoU
) -> Iterator[tuple[slice, Integers, Floats]]:
    """For each image that has both: rows of detections, rows of targets, and their IoU, 0 between classes."""
    images = np.arange(len(detections.sizes) + 1)
    starts, target_starts = (np.searchsorted(table.image, images) for table in (detections, targets))
    for n in range(len(detections.sizes)):
        rows = slice(starts[n], starts[n + 1])
        columns = slice(target_starts[n], target_starts[n + 1])
        if rows.start < rows.stop and columns.start < columns.stop:
            ious = pairwise_iou(detections.boxes[rows], targets.boxes[columns], detections.sizes[n])
            same_class = detections.classes[rows, None] == targets.classes[None, columns]
            yield rows, np.arange(columns.start, columns.stop), np.where(same_class, ious, 0)


def _pairwise_iou(a: Floats, b: Floats, size: Integers) -> Floats:
    ious: Floats = boxes.iou(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]).numpy()
    return ious


def _pairwise_iou_of_pixels(a: Floats, b: Floats, size: Integers) -> Floats:
    """IoU in whole pixels, both edges included, of boxes clipped to the image."""
    unit = np.tile(size, 2)
    p, q = (
        np.concatenate((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), axis=1).astype(np.float64)
        for xywh in (a, b)
    )
    p, q = p * unit + 1, q * unit + 1
    p[:, :2], p[:, 2:] = np.maximum(p[:, :2], 1), np.minimum(p[:, 2:], size)
    sides = np.minimum(p[:, None, 2:], q[None, :, 2:]) - np.maximum(p[:, None, :2], q[None, :, :2]) + 1
    intersection = sides.clip(min=0).prod(axis=2)
    area_p, area_q = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (p, q))
    ratio: Floats = (intersection / (area_p[:, None] + area_q[None] - intersection)).astype(np.float32)
    return ratio


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and recall after each detection that counts, the most confident first.

    Attributes:
        confidence: float32 [n], descending.
        precision: float64 [n].
        recall: float64 [n], ascending.
        targets: number of ground-truth boxes.
    """

    confidence: Floats
    precision: Doubles
    recall: Doubles
    targets: int

    @property
    def f1(self) -> Doubles:
        """Harmonic mean of precision and recall: float64 [n]."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    def average_precision(self, points: int = 0) -> float:
        """Average precision in 0..1 of the curve made monotone.

        ``points``: 0 for the area under the curve, else the number of equidistant recalls in 0..1 over which the
        precision is averaged (VOC 2007: 11, COCO: 101).
        """
        if not len(self.recall):
            return 0.0
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        if points == 0:
            return float((np.diff(self.recall, prepend=0.0) * best).sum())
        # Multiply by the reciprocal, as the compiled C code and the tools of VOC and COCO do: 6 * 0.1 is above 0.6, so
        # a recall of 3 / 5 does not reach the seventh of eleven points.
        ranks = np.searchsorted(self.recall, np.arange(points) * (1 / (points - 1)), side="left")
        return float(np.append(best, 0.0)[ranks].mean())

    def best(self) -> tuple[float, float]:
        """Return the score threshold with the highest F1, and that F1; 0, 0 for an empty curve."""
        if not len(self.confidence):
            return 0.0, 0.0
        last = np.append(self.confidence[1:] != self.confidence[:-1], True)  # equal ones pass together
        rank = int(np.where(last, self.f1, -1).argmax())
        return float(self.confidence[rank]), float(self.f1[rank])


def rank_detections(detections: Detections, matches: TargetMatches) -> tuple[Integers, Bools]:
    """Sort the detections that count by descending confidence.

    Returns:
        Rows of ``detections``, int64 [n], and whether each is a true positive, bool [n]: the first of each target.
    """
    order = np.argsort(-detections.confidence, kind="stable")
    order = order[matches.counted[order]]
    return order, _is_first(matches.target[order])


def _is_first(target: Integers) -> Bools:
    """Whether an entry is the first with its value; -1 never is."""
    values, index = np.unique(target, return_index=True)
    first = np.zeros(len(target), np.bool_)
    first[index[values >= 0]] = True
    return first


def compute_curve(confidence: Floats, is_tp: Bools, targets: int) -> PrecisionRecallCurve:
    """Compute the curve of ranked detections, see ``rank_detections``.

    Args:
        confidence: float32 [n], descending.
        is_tp: bool [n], whether a detection is a true positive.
        targets: number of ground-truth boxes.
    """
    tp = np.cumsum(is_tp, dtype=np.float64)
    precision = tp / np.arange(1, len(is_tp) + 1)
    recall = tp / targets if targets else 0 * tp
    return PrecisionRecallCurve(confidence, precision, recall, targets)


def compute_class_curves(
    detections: Detections, matches: TargetMatches, targets: Sequence[int] | Integers
) -> list[PrecisionRecallCurve]:
    """Compute the curve of each class; ``targets``: number of ground-truth boxes of each."""
    order, is_tp = rank_detections(detections, matches)
    classes = detections.classes[order]
    curves = []
    for cls, count in enumerate(targets):
        of_class = classes == cls
        curves.append(compute_curve(detections.confidence[order][of_class], is_tp[of_class], int(count)))
    return curves


def compute_overall_curve(detections: Detections, matches: TargetMatches, targets: int) -> PrecisionRecallCurve:
    """Compute the curve of all classes together; ``targets``: number of ground-truth boxes."""
    order, is_tp = rank_detections(detections, matches)
    return compute_curve(detections.confidence[order], is_tp, targets)


@dataclass(frozen=True)
class DetectionCounts:
    """True and false positives above a score threshold.

    Attributes:
        tp: int64 [classes].
        fp: int64 [classes].
        mean_iou: mean IoU of the detections of all classes with their targets, 0 for a false positive.
    """

    tp: Integers
    fp: Integers
    mean_iou: float


def count_tp_fp_darknet(
    detections: Detections, matches: TargetMatches, score_threshold: float, classes: int
) -> DetectionCounts:
    """Count TP and FP as ``detector map`` prints them.

    Unlike in the curve, the true positive of a target is its first detection in C's order instead of the most
    confident one, and a detection that matches an ignored box is a false positive.
    """
    above = detections.confidence > np.float32(score_threshold)
    tp = above & _is_first(matches.target)
    return _counts(detections, matches, np.flatnonzero(tp), np.flatnonzero(above & ~tp), classes)


def count_tp_fp(
    detections: Detections, matches: TargetMatches, score_threshold: float, classes: int
) -> DetectionCounts:
    """Count TP and FP by the rule of the precision-recall curve."""
    order, is_tp = rank_detections(detections, matches)
    above = detections.confidence[order] > np.float32(score_threshold)
    return _counts(detections, matches, order[above & is_tp], order[above & ~is_tp], classes)


def _counts(
    detections: Detections, matches: TargetMatches, tp: Integers, fp: Integers, classes: int
) -> DetectionCounts:
    """Count true and false positives per class, given their rows ``tp`` and ``fp``."""
    tp_per_class, fp_per_class = (np.bincount(detections.classes[rows], minlength=classes) for rows in (tp, fp))
    mean_iou = float(matches.iou[tp].sum()) / max(1, len(tp) + len(fp))
    return DetectionCounts(tp_per_class, fp_per_class, mean_iou)
