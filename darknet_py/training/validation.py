"""The score that a run is evaluated by: mAP of a detector, accuracy of a classifier; computed by all processes."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from .._typing import StrPath
from ..data.dataset import Dataset
from ..distributed import ProcessGroup
from ..evaluation.accuracy import evaluate_accuracy
from ..evaluation.detections import collect
from ..evaluation.evaluator import evaluate_detections, prepare_dataset
from ..network import Network
from .batches import Data, data_file_entries, integer_entry, read_classifier_data
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
    """Darknet's mAP; the processes share the images. Other engines would convert the weights of each iteration."""
    detections = collect(
        network,
        dataset,
        engine="torch",
        workers=options.workers,
        progress=False,
        process_group=group,
        **options.reading,
    )
    threshold, match_iou = options.score_threshold, options.match_iou
    return evaluate_detections(dataset, detections, threshold=threshold, match_iou=match_iou).map


def _compute_accuracy(
    network: Network, images: Sequence[str], labels: Sequence[str], k: int, options: TrainOptions, group: ProcessGroup
) -> float:
    """The share of images whose class is among the k of highest probability."""
    scores = evaluate_accuracy(
        network,
        images,
        labels,
        k=k,
        engine="torch",
        workers=options.workers,
        process_group=group,
        **options.reading,
    )
    last = collections.deque(scores, maxlen=1)
    return last[0].topk if last else 0.0
