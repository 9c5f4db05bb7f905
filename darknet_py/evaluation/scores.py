"""``Evaluation``: the scores of a detector on a data set, with the protocol they were computed by.

Values of mAP are comparable only if the protocol is the same, so it is printed with them:

* ``darknet``: AlexeyAB's ``detector map`` (``validate_detector_map``). IoU above the threshold, area under the curve
  (or the mean precision at 11 or 101 recalls), mean over all classes, 0 for those without targets.
* ``voc07``: Pascal VOC 2007 (VOCevaldet.m). IoU at or above the threshold, mean precision at 11 recalls, difficult
  targets ignored, mean over the classes that have targets.
* ``coco``: ``COCOeval`` of pycocotools or faster_coco_eval. Mean over ten IoU thresholds from 0.5 to 0.95, 101
  recalls, at most 100 detections per image, mean over the classes that have targets.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._table import format_table
from ..data.dataset import Dataset
from ..data.labels import Problem
from .average_precision import GroundTruth, PrecisionRecallCurve, TargetMatches
from .detections import Detections


class Protocol(enum.StrEnum):
    """The rules by which mAP is computed."""

    DARKNET = "darknet"
    VOC07 = "voc07"
    COCO = "coco"


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class or of all together.

    Attributes:
        name: name of the class, or ``all``.
        targets: number of ground-truth boxes.
        average_precision: 0..1, or pycocotools' -1 for a class without targets.
        tp: true positives above the score threshold.
        fp: false positives above the score threshold.
        best_threshold: score threshold with the highest F1.
        best_f1: that F1.
    """

    name: str
    targets: int
    average_precision: float
    tp: int
    fp: int
    best_threshold: float
    best_f1: float

    @property
    def fn(self) -> int:
        """False negatives."""
        return self.targets - self.tp

    @property
    def precision(self) -> float:
        """tp / (tp + fp), 0 without detections."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """tp / targets, 0 without targets."""
        return self.tp / self.targets if self.targets else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True)
class EvaluationData:
    """The data behind an evaluation, for plots and result files; ``curves``: one for each class."""

    dataset: Dataset
    detections: Detections
    targets: GroundTruth
    matches: TargetMatches
    curves: Sequence[PrecisionRecallCurve]


@dataclass(frozen=True)
class Evaluation:
    """The scores of a network on a data set; ``str()`` is Darknet's text for its protocol, else a table.

    Attributes:
        protocol: the rules.
        map: the protocol's mAP, 0..1.
        map50: mAP at an IoU of 0.5, 0..1.
        all: all classes together; its ``average_precision`` is ``map``.
        classes: each class.
        threshold: score threshold of TP, FP and what is derived from them.
        match_iou: IoU at which a detection counts as correct.
        points: number of recalls over which precision was averaged; 0: area under the curve.
        average_iou: mean IoU of the detections above ``threshold`` with their targets, 0 for a false positive.
        problems: labels and images that could not be used.
        data: what the scores were computed from.
        coco: for the coco protocol, the twelve statistics of ``COCOeval`` by name; -1 where there is no target.
        backend: the package that computed them, or empty.
    """

    protocol: Protocol
    map: float
    map50: float
    all: ClassScore
    classes: Sequence[ClassScore]
    threshold: float
    match_iou: float
    points: int
    average_iou: float
    problems: Sequence[Problem]
    data: EvaluationData
    coco: Mapping[str, float]
    backend: str = ""

    @property
    def rule(self) -> str:
        """The protocol with its parameters, on one line."""
        if self.protocol is Protocol.COCO:
            return f"coco: {self.backend}, IoU 0.50:0.95, 101 recalls, at most 100 boxes, classes with targets"
        if self.protocol is Protocol.VOC07:
            return f"voc07: IoU >= {self.match_iou:g}, 11 recalls, difficult targets ignored, classes with targets"
        area = f"{self.points} recalls" if self.points else "area under the curve"
        return f"darknet: IoU > {self.match_iou:g}, {area}, all {len(self.classes)} classes"

    def __str__(self) -> str:
        return self.to_darknet_text() if self.protocol is Protocol.DARKNET else self.to_table()

    def to_darknet_text(self) -> str:
        """Format the output of ``detector map``, character by character."""
        score = self.all
        prefix = f" for conf_thresh = {self.threshold:1.2f}, "
        area = f"used {self.points} Recall-points" if self.points else "used Area-Under-Curve for each unique Recall"
        return "\n".join(
            (
                "\n calculation mAP (mean average precision)...",
                f"\n detections_count = {self.data.matches.counted.sum()}, unique_truth_count = {score.targets}  ",
                *(
                    f"class_id = {cls}, name = {row.name}, ap = {100 * row.average_precision:2.2f}%   \t "
                    f"(TP = {row.tp}, FP = {row.fp}) "
                    for cls, row in enumerate(self.classes)
                ),
                f"\n{prefix}precision = {score.precision:1.2f}, recall = {score.recall:1.2f}, "
                f"F1-score = {score.f1:1.2f} ",
                f"{prefix}TP = {score.tp}, FP = {score.fp}, FN = {score.fn}, "
                f"average IoU = {100 * self.average_iou:2.2f} % ",
                f"\n IoU threshold = {100 * self.match_iou:2.0f} %, {area} ",
                f" mean average precision (mAP@{self.match_iou:0.2f}) = {self.map:f}, or {100 * self.map:2.2f} % ",
                _HINT,
            )
        )

    def to_table(self) -> str:
        """Format a table with a row for each class and one for all; ratios in percent."""
        head = ("class", "targets", "AP", "TP", "FP", "FN", "P", "R", "F1", "best F1", "score")
        shown = [score for score in self.classes if score.targets or score.tp or score.fp]
        rows = [head, *map(_row, shown), _row(self.all)]
        text = format_table(rows, "<>")
        text.insert(-1, "-" * max(map(len, text)))
        absent = len(self.classes) - len(shown)
        notes = [f"not shown: {absent} classes without targets and detections"] if absent else []
        notes.append(
            f"TP, FP, FN, P (precision), R (recall), F1: score above {self.threshold:g}, IoU {self.match_iou:g}"
        )
        notes.append("score: the threshold of the best F1")
        return "\n".join((*text, *notes, "", *self.summary()))

    def summary(self) -> list[str]:
        """Format mAP with its protocol, and the best F1 with its score threshold."""
        if self.protocol is Protocol.COCO:
            lines = [f"{name:<9} {_percent(value)}" for name, value in self.coco.items()]
        else:
            lines = [f"mAP@{self.match_iou:.2f} = {100 * self.map:.2f} %"]
        best = f"best F1 {100 * self.all.best_f1:.1f} % at a score threshold of {self.all.best_threshold:.3f}"
        return [*lines, f"({self.rule})", best]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but ``data`` as plain values, for JSON."""
        return {
            "protocol": str(self.protocol),
            "rule": self.rule,
            "data": self.data.dataset.source,
            "map": self.map,
            "map50": self.map50,
            "threshold": self.threshold,
            "match_iou": self.match_iou,
            "points": self.points,
            "average_iou": self.average_iou,
            "images": len(self.data.dataset),
            "detections": len(self.data.detections),
            "seconds": round(self.data.detections.seconds, 3),
            "all": _record(self.all),
            "classes": [_record(score) for score in self.classes],
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
    ratios = {name: getattr(score, name) for name in ("fn", "precision", "recall", "f1")}
    return dataclasses.asdict(score) | ratios


def _row(score: ClassScore) -> tuple[str, ...]:
    ratios = (score.precision, score.recall, score.f1, score.best_f1)
    counts = (score.tp, score.fp, score.fn)
    return (
        score.name,
        str(score.targets),
        _percent(score.average_precision),
        *map(str, counts),
        *map(_percent, ratios),
        f"{score.best_threshold:.3f}",
    )


def _percent(ratio: float) -> str:
    return "-" if ratio < 0 or np.isnan(ratio) else f"{100 * ratio:.2f}"
