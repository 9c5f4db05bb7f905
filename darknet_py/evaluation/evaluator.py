"""``evaluate``: mAP of a detector on a data set, by one of three protocols.

``scores`` defines the protocols, ``average_precision`` has their matching rules, ``coco`` runs pycocotools.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from .._typing import StrPath
from ..boxes import NMSKind
from ..data import labels
from ..data.class_map import MAP_CLASSES_HINT, describe_mismatch, mapped_names, resolve_class_map
from ..data.class_names import ClassNames, resolve_class_names, selected_classes
from ..data.dataset import Dataset
from ..data.formats import load_dataset
from ..distributed import ProcessGroup
from ..errors import ConfigError, DataError
from ..images.limits import MAX_PIXELS
from ..inference.engines import DEFAULT, Engine
from ..inference.exported_model import ModelSource, open_model
from ..network import Network
from ..postprocess import require_heads
from ..weights import warn_of_random_weights
from . import average_precision as ap
from . import coco
from .detections import Detections, Integers, collect, select_classes
from .scores import ClassScore, Evaluation, EvaluationData, Protocol

# Minimum score and NMS threshold: of `detector map`, and of `detector valid` for coco.
_DETECTION_DEFAULTS = {Protocol.DARKNET: (0.005, 0.45), Protocol.VOC07: (0.005, 0.45), Protocol.COCO: (0.001, 0.6)}


def evaluate(
    network: ModelSource,
    data: Dataset | StrPath,
    *,
    protocol: Protocol | str = Protocol.DARKNET,
    subset: str = "valid",
    names: ClassNames = None,
    polygons: bool = False,
    map_classes: str = "",
    classes: Iterable[str | int] | None = None,
    skip_classes: Iterable[str | int] = (),
    threshold: float = 0.25,
    match_iou: float = 0.5,
    points: int = 0,
    min_score: float | None = None,
    nms: float | None = None,
    nms_kind: NMSKind | str | None = None,
    letterbox: bool | None = None,
    exif: bool = False,
    max_pixels: int = MAX_PIXELS,
    backend: str | None = None,
    batch: int = 8,
    workers: int = 2,
    engine: str | Engine = DEFAULT,
    dtype: str = "fp32",
    progress: bool = True,
    process_group: ProcessGroup | None = None,
) -> Evaluation:
    """Detect on every image of a data set and compute mAP.

    Args:
        network: a detector, see ``network.unwrap``; its mode is restored. Or what else ``Detector`` takes,
            an exported one with ``heads`` ``raw`` or ``boxes``.
        data: a ``Dataset``, or what ``load_dataset`` reads: a .data file, a list, a data.yaml, COCO's annotation JSON,
            or a VOC folder.
        protocol: ``darknet``, ``voc07`` or ``coco``, see ``scores``.
        subset: the part of ``data`` to use: ``valid``, ``train`` or ``test``.
        names: class names instead of the data set's, as a file or a sequence.
        polygons: take the bounding boxes of polygons in label files.
        map_classes: the network's classes of the data set's, see ``data.class_map``: "person=0,car=1", a file of such
            lines, or "names"; others are left out. "": they are the same.
        classes: evaluate these classes only, by name or number; the mean is over them. None: all.
        skip_classes: do not evaluate these classes.
        threshold: score above which a detection counts for TP, FP, precision, recall and F1; no influence on mAP.
        match_iou: IoU at which a detection counts as correct.
        points: for the darknet protocol, the number of recalls over which precision is averaged; 0: area under the
            curve.
        min_score: score above which detections count for mAP; None: 0.005 (``detector map``), for coco 0.001
            (``detector valid``).
        nms: IoU threshold of class-wise NMS; None: 0.45 (``detector map``), for coco 0.6 (``detector valid``).
        nms_kind: kind of NMS, see ``boxes.NMSKind``; None: ``nms_kind=`` of the last head.
        letterbox: keep the images' aspect ratio; None: as the cfg and dialect say.
        exif: rotate images as their EXIF orientation says; the labels must be those of the rotated images.
        max_pixels: refuse image files with more pixels.
        backend: package that evaluates for coco, see ``coco.BACKENDS``; None: the first that is installed.
        batch: images per forward pass.
        workers: threads that read images.
        engine: inference engine, see ``inference.engines``.
        dtype: precision of the engine, see ``inference.engines``.
        progress: show a progress bar on stderr if that is a terminal.
        process_group: processes that share the images, see ``distributed``. Each of them calls this with the same
            arguments and gets the same evaluation, which is that of one process; the main one reads the data set, logs
            and shows progress.

    Raises:
        DataError: the network has no detection head, the data cannot be read, or an argument is out of range.
        ImportError: no package for the coco protocol is installed.
    """
    protocol = Protocol(protocol)
    network, engine, letterbox, file, reload = open_model(network, engine, letterbox)
    require_heads(network)
    if file is not None:
        file.require_all_boxes()
    warn_of_random_weights(network)
    for name, value in (("threshold", threshold), ("match_iou", match_iou)):
        if not 0 <= value <= 1:
            raise DataError(f"{name}: expected 0..1, got {value}")
    if points < 0 or points == 1:
        raise DataError(f"points: expected 0 (area under the curve), or 2 and more (11, 101), got {points}")
    if protocol is Protocol.COCO:
        coco.find_backend(backend)
    group = process_group or ProcessGroup()
    dataset = group.compute_once(
        lambda: prepare_dataset(
            network, data, subset, names, polygons=polygons, map_classes=map_classes, progress=progress
        )
    )
    if group.is_main:
        labels.log_problems(dataset.problems)
    default_score, default_nms = _DETECTION_DEFAULTS[protocol]
    detections = collect(
        network,
        dataset,
        threshold=default_score if min_score is None else min_score,
        nms=default_nms if nms is None else nms,
        nms_kind=nms_kind,
        letterbox=letterbox,
        exif=exif,
        max_pixels=max_pixels,
        nms_in_pixels=protocol is Protocol.COCO,
        batch=batch,
        workers=workers,
        engine=engine,
        dtype=dtype,
        progress=progress,
        process_group=group,
        reload=reload,
    )
    if group.is_main:
        labels.log_problems(detections.problems)
    if classes is not None or skip_classes:
        numbers = selected_classes(classes, skip_classes, dataset.names)
        dataset, detections = select_classes(dataset, detections, numbers)
        _require_objects(dataset)
    return evaluate_detections(
        dataset, detections, protocol, threshold=threshold, match_iou=match_iou, points=points, backend=backend
    )


def prepare_dataset(
    network: Network,
    data: Dataset | StrPath,
    subset: str = "valid",
    names: ClassNames = None,
    *,
    polygons: bool = False,
    map_classes: str = "",
    progress: bool = True,
) -> Dataset:
    """Load a data set with the classes of the network and a name for each, without targets of other classes.

    Targets go through ``map_classes`` (see ``evaluate``), else through the head's ``map=``, as in training.

    Raises DataError if it has no images or no objects, or another number of class names than the network has classes;
    ConfigError if the file of ``map=`` cannot be used.
    """
    head = require_heads(network)[-1]
    classes = head.classes
    label_map: dict[int, int] | None = None
    label_classes: int | None = None
    if not map_classes:
        # Inference does without the map and only warns of it; the classes of labels are wrong without it.
        for error in head.options.errors:
            if "] map: " in error:
                raise ConfigError(error)
        if head.label_map is not None:
            label_map = dict(enumerate(head.label_map.tolist()))
        label_classes = classes if label_map is None else len(label_map)
    if isinstance(data, str | os.PathLike):
        data = load_dataset(data, subset, classes=label_classes, polygons=polygons, progress=progress)
    if not len(data):
        raise DataError(f"{data.source or 'data'}: no images to evaluate on")
    if label_classes is not None:
        data = data.drop_unknown_classes(label_classes)
    if map_classes:
        own = tuple(network.names) if names is None else resolve_class_names(names, classes)
        data = data.map_classes(*resolve_class_map(map_classes, data.names, own, classes))
    elif label_map is not None:
        by_label = len(data.names) == len(label_map) != classes
        data = data.map_classes(label_map, mapped_names(label_map, data.names, classes) if by_label else data.names)
    if names is None and len(data.names) not in (0, classes):
        raise DataError(f"{describe_mismatch(data.source, data.names, classes)}; {MAP_CLASSES_HINT}")
    own = tuple(network.names)
    if names is None and not map_classes and label_map is None and own != tuple(data.names) and {*own} == {*data.names}:
        message = "the classes are those of the network in another order: expected map_classes, --map-classes names"
        raise DataError(f"{data.source}: {message}")
    resolved = resolve_class_names(names if names is not None else data.names or None, classes)
    dataset = replace(data, names=tuple(resolved))
    _require_objects(dataset)
    return dataset


def _require_objects(dataset: Dataset) -> None:
    """Raise DataError if there is no object to detect."""
    if any(len(sample.targets) for sample in dataset):
        return
    labels.log_problems(dataset.problems)
    ignored = sum(len(sample.ignored) for sample in dataset)
    others = f", and {ignored} to ignore (difficult or crowds)" if ignored else ""
    raise DataError(
        f"{dataset.source or 'data'}: nothing to evaluate: no object of the network's {len(dataset.names)} classes in "
        f"{len(dataset)} images{others}; check the data set with: darknet-py check DATA"
    )


def _require_readable(dataset: Dataset, detections: Detections) -> None:
    """Raise DataError if no image could be read."""
    if len(dataset) and len(detections.problems) == len(dataset):
        raise DataError(
            f"{dataset.source or 'data'}: nothing to evaluate: none of {len(dataset)} images can be read; "
            f"the first: {detections.problems[0]}"
        )


def evaluate_detections(
    dataset: Dataset,
    detections: Detections,
    protocol: Protocol | str = Protocol.DARKNET,
    *,
    threshold: float = 0.25,
    match_iou: float = 0.5,
    points: int = 0,
    backend: str | None = None,
) -> Evaluation:
    """Compute mAP of detections on a data set that has a name for each class; for the options see ``evaluate``.

    Raises DataError if no image could be read.
    """
    protocol = Protocol(protocol)
    _require_readable(dataset, detections)
    voc = protocol is Protocol.VOC07
    targets = ap.GroundTruth.from_dataset(dataset)
    matches = (ap.match_voc if voc else ap.match_darknet)(detections, targets, match_iou)
    num_targets = targets.count_per_class(len(dataset.names))
    curves = ap.compute_class_curves(detections, matches, num_targets)
    count_tp_fp = ap.count_tp_fp_darknet if protocol is Protocol.DARKNET else ap.count_tp_fp
    counts = count_tp_fp(detections, matches, threshold, len(dataset.names))
    points = 11 if voc else points
    aps = [curve.average_precision(points) for curve in curves]
    mean_ap = _mean(aps, num_targets, only_with_targets=voc)
    map50 = mean_ap
    package = ""
    statistics: dict[str, float] = {}
    if protocol is Protocol.COCO:
        package, statistics, aps = coco.evaluate_coco(dataset, detections, backend)
        mean_ap, map50 = statistics["AP"], statistics["AP50"]
    elif match_iou != 0.5:
        map50 = evaluate_detections(dataset, detections, protocol, points=points).map
    class_scores = [
        ClassScore(name, int(n), average_precision, int(tp), int(fp), *curve.best())
        for name, n, average_precision, tp, fp, curve in zip(
            dataset.names, num_targets, aps, counts.tp, counts.fp, curves, strict=True
        )
    ]
    total = int(num_targets.sum())
    best = ap.compute_overall_curve(detections, matches, total).best()
    return Evaluation(
        protocol=protocol,
        map=mean_ap,
        map50=map50,
        all=ClassScore("all", total, mean_ap, int(counts.tp.sum()), int(counts.fp.sum()), *best),
        classes=class_scores,
        threshold=threshold,
        match_iou=match_iou,
        points=points,
        average_iou=counts.mean_iou,
        problems=(*dataset.problems, *detections.problems),
        data=EvaluationData(dataset, detections, targets, matches, curves),
        coco=statistics,
        backend=package,
    )


def _mean(aps: Sequence[float], num_targets: Integers, *, only_with_targets: bool) -> float:
    """Mean AP over all classes, or over those that have targets."""
    averaged = np.array(aps)[num_targets > 0] if only_with_targets else np.array(aps)
    return float(averaged.mean()) if len(averaged) else 0.0
