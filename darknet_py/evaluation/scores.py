"""``Evaluation``: what a network reached on a data set, with the rule by which it was counted.

mAP of two tools is comparable only by the same rule, so the rule is printed with the number:

* ``darknet``: AlexeyAB's ``detector map``. Overlap above the threshold, area under the curve (or the mean
  precision at 11 or 101 recalls), mean over all classes, those without objects being 0.
* ``voc07``: Pascal VOC 2007. Mean precision at 11 recalls, difficult objects ignored, mean over the classes
  that have objects.
* ``coco``: by pycocotools, or faster_coco_eval in its place. Mean over ten overlaps from 0.5 to 0.95, 101 recalls,
  at most 100 boxes an image, mean over the classes that have objects.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._table import format_table
from ..data.data_file import Dataset
from ..data.labels import Problem
from .average_precision import Curve, Matches, Objects
from .detections import Detections


class Protocol(enum.StrEnum):
    """By whose rule mean average precision is counted."""

    DARKNET = "darknet"
    VOC07 = "voc07"
    COCO = "coco"


@dataclass(frozen=True)
class ClassScore:
    """One class, or all together: objects, average precision, and counts above the confidence threshold.

    ``best_threshold``: the confidence at which F1 is highest, ``best_f1`` that F1. ``average_precision`` is
    0..1, or pycocotools' -1 for a class without objects.
    """

    name: str
    objects: int
    average_precision: float
    tp: int
    fp: int
    best_threshold: float
    best_f1: float

    @property
    def fn(self) -> int:
        """Objects that were not found."""
        return self.objects - self.tp

    @property
    def precision(self) -> float:
        """Share of the detections that are right; 0 of none."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """Share of the objects that were found; 0 of none."""
        return self.tp / self.objects if self.objects else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True)
class Material:
    """What was counted, for plots and result files."""

    dataset: Dataset
    found: Detections
    objects: Objects
    matches: Matches
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Evaluation:
    """The score of a network on a data set; ``str()`` of it is Darknet's own lines, or a table.

    ``map``: the protocol's number, ``map50``: at an overlap of 0.5; both 0..1. ``all``: all classes together,
    its ``average_precision`` being ``map``. ``average_iou``: mean overlap of the detections above
    ``threshold``, 0 for a wrong one. ``coco``: the twelve numbers of pycocotools, by name (its -1 for "none"), and
    ``backend``: the package that counted them.
    """

    protocol: Protocol
    map: float
    map50: float
    all: ClassScore
    classes: Sequence[ClassScore]
    threshold: float
    iou_threshold: float
    points: int
    average_iou: float
    problems: Sequence[Problem]
    material: Material
    coco: Mapping[str, float]
    backend: str = ""

    @property
    def rule(self) -> str:
        """The protocol in a line."""
        if self.protocol is Protocol.COCO:
            return f"coco: {self.backend}, IoU 0.50:0.95, 101 recalls, at most 100 boxes, classes with objects"
        if self.protocol is Protocol.VOC07:
            return f"voc07: IoU >= {self.iou_threshold:g}, 11 recalls, difficult objects ignored, classes with objects"
        area = f"{self.points} recalls" if self.points else "area under the curve"
        return f"darknet: IoU > {self.iou_threshold:g}, {area}, all {len(self.classes)} classes"

    def __str__(self) -> str:
        return self.lines() if self.protocol is Protocol.DARKNET else self.table()

    def lines(self) -> str:
        """What ``detector map`` prints, character by character."""
        score, at = self.all, f" for conf_thresh = {self.threshold:1.2f}, "
        area = f"used {self.points} Recall-points" if self.points else "used Area-Under-Curve for each unique Recall"
        return "\n".join(
            (
                "\n calculation mAP (mean average precision)...",
                f"\n detections_count = {self.material.matches.counted.sum()}, unique_truth_count = {score.objects}  ",
                *(
                    f"class_id = {number}, name = {one.name}, ap = {100 * one.average_precision:2.2f}%   \t "
                    f"(TP = {one.tp}, FP = {one.fp}) "
                    for number, one in enumerate(self.classes)
                ),
                f"\n{at}precision = {score.precision:1.2f}, recall = {score.recall:1.2f}, F1-score = {score.f1:1.2f} ",
                f"{at}TP = {score.tp}, FP = {score.fp}, FN = {score.fn}, "
                f"average IoU = {100 * self.average_iou:2.2f} % ",
                f"\n IoU threshold = {100 * self.iou_threshold:2.0f} %, {area} ",
                f" mean average precision (mAP@{self.iou_threshold:0.2f}) = {self.map:f}, or {100 * self.map:2.2f} % ",
                _HINT,
            )
        )

    def table(self) -> str:
        """A row a class, and the sums; the numbers in percent where they are shares."""
        head = ("class", "objects", "AP", "TP", "FP", "FN", "precision", "recall", "F1", "best F1", "at")
        rows = [head, *(_row(one) for one in self.classes if one.objects or one.tp or one.fp), _row(self.all)]
        text = format_table(rows, "<>")
        text.insert(-1, "-" * len(text[0]))
        absent = sum(not (one.objects or one.tp or one.fp) for one in self.classes)
        notes = [f"not shown: {absent} classes without objects and detections"] if absent else []
        at = f"a confidence above {self.threshold:g}, IoU {self.iou_threshold:g}"
        notes.append(f"TP, FP, FN, precision, recall and F1 at {at}")
        return "\n".join((*text, *notes, "", *self.summary()))

    def summary(self) -> list[str]:
        """The number with its rule, and what goes with it."""
        if self.protocol is Protocol.COCO:
            shown = [f"{name:<9} {_percent(value)}" for name, value in self.coco.items()]
        else:
            shown = [f"mAP@{self.iou_threshold:.2f} = {100 * self.map:.2f} %"]
        best = f"best F1 {100 * self.all.best_f1:.1f} % at a confidence of {self.all.best_threshold:.3f}"
        return [*shown, f"({self.rule})", best]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the material, for JSON."""
        return {
            "protocol": str(self.protocol),
            "rule": self.rule,
            "map": self.map,
            "map50": self.map50,
            "threshold": self.threshold,
            "iou_threshold": self.iou_threshold,
            "points": self.points,
            "average_iou": self.average_iou,
            "images": len(self.material.dataset),
            "detections": len(self.material.found),
            "seconds": round(self.material.found.seconds, 3),
            "all": _record(self.all),
            "classes": [_record(one) for one in self.classes],
            "coco": dict(self.coco),
            "backend": self.backend,
            "problems": [str(problem) for problem in self.problems],
        }


_HINT = """
Set -points flag:
 `-points 101` for MS COCO 
 `-points 11` for PascalVOC 2007 (uncomment `difficult` in voc.data) 
 `-points 0` (AUC) for ImageNet, PascalVOC 2010-2012, your custom dataset"""


def _record(score: ClassScore) -> dict[str, Any]:
    shares = {name: getattr(score, name) for name in ("fn", "precision", "recall", "f1")}
    return dataclasses.asdict(score) | shares


def _row(score: ClassScore) -> tuple[str, ...]:
    shares = (score.precision, score.recall, score.f1, score.best_f1)
    counts = (score.tp, score.fp, score.fn)
    return (
        score.name,
        str(score.objects),
        _percent(score.average_precision),
        *map(str, counts),
        *map(_percent, shares),
        f"{score.best_threshold:.3f}",
    )


def _percent(share: float) -> str:
    return "-" if share < 0 or np.isnan(share) else f"{100 * share:.2f}"
