"""What a training is measured by while it runs: mAP of a detector, accuracy of a classifier; shared by processes."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..data.dataset import Dataset
from ..evaluation.accuracy import evaluate_accuracy
from ..evaluation.detections import Detections, collect
from ..evaluation.evaluator import evaluate_detections
from ..network import Network
from .distributed import ProcessGroup

Score = Callable[[], float]


def mean_average_precision(
    network: Network, dataset: Dataset, team: ProcessGroup, *, threshold: float, iou_threshold: float, workers: int
) -> Score:
    """Darknet's mAP of all of a data set, which has a name for each class; each process detects on its part."""

    def count() -> float:
        part = replace(dataset, samples=team.share(dataset.samples))
        mine = collect(network, part, workers=workers, progress=False)
        found = joined(team.gather(mine))
        return evaluate_detections(dataset, found, threshold=threshold, match_iou=iou_threshold).map

    return count


def joined(parts: Sequence[Detections]) -> Detections:
    """Detections on consecutive parts of a data set as those on all of it."""
    firsts = np.cumsum([0, *(len(part.sizes) for part in parts)])
    places = [part.image + first for part, first in zip(parts, firsts, strict=False)]
    return Detections(
        np.concatenate(places),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        [problem for part in parts for problem in part.problems],
        max(part.seconds for part in parts),
    )


def right(
    network: Network, images: Sequence[str], labels: Sequence[str], team: ProcessGroup, *, top: int, workers: int
) -> Score:
    """The share of images whose class is among the first ``top``."""

    def count() -> float:
        mine = team.share(images)
        scores = collections.deque(evaluate_accuracy(network, mine, labels, k=top, workers=workers), maxlen=1)
        hits = [(score.topk * score.images, score.images) for score in scores]
        sums = np.sum([pair for of_one in team.gather(hits) for pair in of_one] or [(0, 1)], axis=0)
        return float(sums[0] / sums[1])

    return count
