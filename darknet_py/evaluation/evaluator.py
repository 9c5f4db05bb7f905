"""``evaluate``: a network's mean average precision on a data set, by one of three named rules.

``scores`` says what the rules are, ``average_precision`` how they match and count, ``coco`` how pycocotools
is asked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._typing import StrPath
from ..data import datasets, labels
from ..data.class_names import ClassNames, resolve_class_names
from ..data.data_file import Dataset
from ..errors import DataError
from ..inference.engines import Engine
from ..network import Network
from ..postprocess import require_heads
from . import average_precision as ap
from . import coco
from .detections import Detections, Integers, collect
from .scores import ClassScore, Evaluation, Material, Protocol

_DETECTING = {Protocol.DARKNET: (0.005, 0.45), Protocol.VOC07: (0.005, 0.45), Protocol.COCO: (0.001, 0.6)}


def evaluate(
    network: Network,
    data: Dataset | StrPath,
    *,
    protocol: Protocol | str = Protocol.DARKNET,
    subset: str = "valid",
    names: ClassNames = None,
    threshold: float = 0.25,
    iou_threshold: float = 0.5,
    points: int = 0,
    least: float | None = None,
    nms: float | None = None,
    letterbox: bool | None = None,
    backend: str | None = None,
    batch: int = 8,
    workers: int = 2,
    engine: str | Engine = "torch",
    dtype: str = "fp32",
    progress: bool = True,
) -> Evaluation:
    """Detect on every image of ``data`` and count.

    ``data``: what ``datasets.load`` reads (a .data file, a list, a data.yaml, COCO's JSON, a VOC folder), of
    which ``subset`` is taken, or a ``Dataset``. ``names``: class names instead of the data set's.
    ``threshold``: confidence for TP, FP and what is made of them; it does not change mAP. ``points``: recalls
    of the darknet protocol, 0 for the area. ``least``, ``nms``: confidence and overlap with which boxes are
    collected; by default as Darknet does it for the protocol: above 0.005 and 0.45 (``detector map``), for
    coco 0.001 and 0.6 (``detector valid``). ``backend``: the package that counts for coco, see ``coco.BACKENDS``;
    None: the first that is installed. ``engine`` and ``dtype``: what computes them, see ``engines``. Raises DataError.
    """
    protocol = Protocol(protocol)
    require_heads(network)
    for name, value in (("threshold", threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= value <= 1:
            raise DataError(f"{name}: expected 0..1, got {value}")
    if points < 0 or points == 1:
        raise DataError(f"points: expected 0 (the area), or 2 and more (11, 101), got {points}")
    if protocol is Protocol.COCO:
        coco.backend(backend)
    dataset = prepared(network, data, subset, names)
    labels.report(dataset.problems)
    default = _DETECTING[protocol]
    found = collect(
        network,
        dataset,
        threshold=default[0] if least is None else least,
        nms=default[1] if nms is None else nms,
        letterbox=letterbox,
        nms_in_pixels=protocol is Protocol.COCO,
        batch=batch,
        workers=workers,
        engine=engine,
        dtype=dtype,
        progress=progress,
    )
    labels.report(found.problems)
    limits = {"threshold": threshold, "iou_threshold": iou_threshold}
    return score(dataset, found, protocol, points=points, backend=backend, **limits)


def prepared(network: Network, data: Dataset | StrPath, subset: str = "valid", names: ClassNames = None) -> Dataset:
    """The data set with a name for each class of the network and no object of another class."""
    classes = network.heads[-1].classes
    if isinstance(data, str | os.PathLike):
        data = datasets.load(data, subset, classes=classes)
    if not len(data):
        raise DataError(f"{data.source or 'data'}: no images to evaluate on")
    if names is None and len(data.names) not in (0, classes):
        raise DataError(f"{data.source}: {len(data.names)} class names, but the network has {classes} classes")
    words = resolve_class_names(names if names is not None else data.names or None, classes)
    return replace(data.limited(classes), names=tuple(words))


def score(
    dataset: Dataset,
    found: Detections,
    protocol: Protocol | str = Protocol.DARKNET,
    *,
    threshold: float = 0.25,
    iou_threshold: float = 0.5,
    points: int = 0,
    backend: str | None = None,
) -> Evaluation:
    """Count what was found on a data set, which has a name for each class."""
    protocol = Protocol(protocol)
    voc = protocol is Protocol.VOC07
    targets = ap.objects(dataset)
    matches = (ap.match_voc if voc else ap.match_darknet)(found, targets, iou_threshold)
    objects = targets.counts(len(dataset.names))
    curves = ap.curves(found, matches, objects)
    count = ap.count_darknet if protocol is Protocol.DARKNET else ap.count
    counts = count(found, matches, threshold, len(dataset.names))
    points = 11 if voc else points
    areas = [curve.average_precision(points) for curve in curves]
    mean, at_50 = _mean(areas, objects, voc), None
    package, numbers = "", dict[str, float]()
    if protocol is Protocol.COCO:
        package, numbers, areas = coco.evaluate(dataset, found, backend)
        mean, at_50 = numbers["AP"], numbers["AP50"]
    elif iou_threshold != 0.5:
        at_50 = score(dataset, found, protocol, points=points).map
    one = [
        ClassScore(name, int(n), area, int(tp), int(fp), *curve.best())
        for name, n, area, tp, fp, curve in zip(
            dataset.names, objects, areas, counts.right, counts.wrong, curves, strict=True
        )
    ]
    right, wrong, total = int(counts.right.sum()), int(counts.wrong.sum()), int(objects.sum())
    best = ap.overall(found, matches, total).best()
    return Evaluation(
        protocol=protocol,
        map=mean,
        map50=mean if at_50 is None else at_50,
        all=ClassScore("all", total, mean, right, wrong, *best),
        classes=one,
        threshold=threshold,
        iou_threshold=iou_threshold,
        points=points,
        average_iou=counts.overlap,
        problems=(*dataset.problems, *found.problems),
        material=Material(dataset, found, targets, matches, curves),
        coco=numbers,
        backend=package,
    )


def _mean(areas: Sequence[float], objects: Integers, present: bool) -> float:
    """Mean over all classes, or over those that have objects."""
    counted = np.array(areas)[objects > 0] if present else np.array(areas)
    return float(counted.mean()) if len(counted) else 0.0
