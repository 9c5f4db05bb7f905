"""The score that a run is evaluated by: mAP of a detector, accuracy of a classifier; computed by all processes."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .._typing import StrPath
from ..data.dataset import Dataset
from ..evaluation.accuracy import evaluate_accuracy
from ..evaluation.detections import Detections, collect
from ..evaluation.evaluator import evaluate_detections, prepare_dataset
from ..network import Network
from .batches import Data, data_file_entries, integer_entry, read_classifier_data
from .distributed import ProcessGroup
from .options import TrainOptions


class Metric(NamedTuple):
    """A score in 0..1 of the network as it is: its name, and the function that computes it. All processes call it."""

    name: str
    compute: Callable[[], float]


def create_metric(network: Network, data: Data, options: TrainOptions, group: ProcessGroup) -> Metric | None:
    """The metric for a network and its data; None if there is nothing to evaluate on.

    Raises:
        DataError: The validation set cannot be read, or does not fit the network.
    """
    if not options.validate or not isinstance(data, Dataset | str | os.PathLike):
        return None
    if network.heads:
        dataset = group.compute_once(lambda: _load_objects(network, data, options))
        dataset = replace(dataset, problems=())
        return Metric("mAP", lambda: _compute_map(network, dataset, options, group))
    entries = data_file_entries(data)
    if "valid" not in entries or "labels" not in entries:
        return None
    images, labels = read_classifier_data(data, "valid")
    k = integer_entry(entries, "top", 1)
    return Metric(f"top-{k}", lambda: _compute_accuracy(network, images, labels, k, options, group))


def _load_objects(network: Network, data: Dataset | StrPath, options: TrainOptions) -> Dataset:
    return prepare_dataset(
        network, data, polygons=options.polygons, map_classes=options.map_classes, progress=options.verbose
    )


def _compute_map(network: Network, dataset: Dataset, options: TrainOptions, group: ProcessGroup) -> float:
    """Darknet's mAP; each process detects on its part of the images, with recurrent layers on all of them."""
    part = dataset if network.stateful else replace(dataset, samples=group.shard(dataset.samples))
    detections = collect(network, part, workers=options.workers, progress=False, **options.reading)
    if not network.stateful:
        detections = concatenate_detections(group.all_gather(detections))
    threshold, match_iou = options.score_threshold, options.match_iou
    return evaluate_detections(dataset, detections, threshold=threshold, match_iou=match_iou).map


def _compute_accuracy(
    network: Network, images: Sequence[str], labels: Sequence[str], k: int, options: TrainOptions, group: ProcessGroup
) -> float:
    """The share of images whose class is among the k of highest probability."""
    part = images if network.stateful else group.shard(images)  # recurrent layers need the whole sequence
    scores = evaluate_accuracy(network, part, labels, k=k, workers=options.workers, **options.reading)
    last = collections.deque(scores, maxlen=1)  # the running score over all images
    counts = [(score.topk * score.images, score.images) for score in last]
    sums = np.sum([count for counts_of_one in group.all_gather(counts) for count in counts_of_one] or [(0, 1)], axis=0)
    return float(sums[0] / sums[1])


def concatenate_detections(parts: Sequence[Detections]) -> Detections:
    """Detections on consecutive parts of a data set as those on all of it."""
    offsets = np.cumsum([0, *(len(part.sizes) for part in parts)])
    images = [part.image + offset for part, offset in zip(parts, offsets, strict=False)]
    return Detections(
        np.concatenate(images),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        [problem for part in parts for problem in part.problems],
        max(part.seconds for part in parts),
    )
