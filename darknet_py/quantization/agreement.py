"""Whether two models find the same in images: how many boxes, or most probable classes, are equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..boxes import iou
from ..classifier import predict_probabilities
from ..detector import Detector
from ..inference.exported_model import ExportedModel

_MIN_IOU = 0.5


class Agreement(NamedTuple):
    """How many boxes of a first model a second one finds, or how many classes are equal.

    Attributes:
        found: Boxes of the first model with one of the same class, and an IoU of 0.5 or more, in the second; for
            classifiers, images whose most probable class is the same.
        total: Boxes of the first model, or images.
        kind: ``boxes`` or ``classes``.
    """

    found: int
    total: int
    kind: str

    @property
    def fraction(self) -> float:
        """``found / total``, 1 without any."""
        return self.found / self.total if self.total else 1.0


def compare_models(first: ExportedModel, second: ExportedModel, inputs: Sequence[Tensor]) -> Agreement:
    """Compare what two files of one network find in images, float32 [1, channels, height, width] in 0..1."""
    if not first.network.heads:
        same = [_best_class(first, x) == _best_class(second, x) for x in inputs]
        return Agreement(sum(same), len(same), "classes")
    detectors = [Detector(model) for model in (first, second)]
    found = total = 0
    for x in inputs:
        ours, theirs = (detector.batch(x)[0].boxes for detector in detectors)
        total += len(ours)
        if len(ours) and len(theirs):
            overlap = iou(ours.xywh[:, None], theirs.xywh[None]) * (ours.cls[:, None] == theirs.cls[None])
            found += int((overlap.amax(1) >= _MIN_IOU).sum())
    return Agreement(found, total, "boxes")


def _best_class(model: ExportedModel, x: Tensor) -> int:
    return int(predict_probabilities(model.network, x, run=model).argmax())
