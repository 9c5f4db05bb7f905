"""COCO's format and rule: results as its JSON has them, and mean average precision by pycocotools.

``faster_coco_eval`` counts the same in its place (https://pypi.org/project/faster-coco-eval).

Darknet's class numbers run from 0 to 79, COCO's category numbers from 1 to 90 with gaps; a detector of 80
classes is taken for one of COCO's, as ``detector valid`` does, others count from 1. An image's number is
the one of the JSON that the data set came from, else the digits that end its file name
(``COCO_val2014_000000000042.jpg`` is 42, where Darknet writes 0), else its place in the list from 1.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import pkgutil
import re
from typing import Any, NamedTuple

import numpy as np

from ..data.data_file import Dataset
from .detections import Detections

_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO91 = tuple(number for number in range(1, 91) if number not in _GAPS)
"""The category numbers of COCO's 80 classes, in Darknet's order."""

STATISTICS = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)


Tools = tuple[Any, Any]  # the classes COCO and COCOeval

BACKENDS = {"pycocotools": ("coco.COCO", "cocoeval.COCOeval"), "faster_coco_eval": ("COCO", "COCOeval_faster")}
"""The packages that can count, in the order in which they are looked for, and where their classes are."""


def backend(name: str | None = None) -> tuple[str, Tools]:
    """The package that counts, and its classes: ``name``, or the first that is installed.

    Raises ImportError that says how to have one.
    """
    for package, places in BACKENDS.items():
        if name not in (None, package):
            continue
        with contextlib.suppress(ModuleNotFoundError):
            return package, tuple(pkgutil.resolve_name(f"{package}.{place}") for place in places)
    if name is None:
        raise ImportError("the coco protocol needs pycocotools: pip install 'darknet-torch[eval]'")
    raise ImportError(f"{name}: not installed: pip install {name.replace('_', '-')}")


def categories(dataset: Dataset) -> tuple[int, ...]:
    """By class, the category number."""
    if dataset.categories:
        return dataset.categories
    return COCO91 if len(dataset.names) == len(COCO91) else tuple(range(1, len(dataset.names) + 1))


def identities(dataset: Dataset) -> list[int]:
    """By image, its number; no two are equal."""
    given = [sample.identity for sample in dataset]
    numbers = [number for number in given if number is not None]
    if len(numbers) < len(given):
        ends = [re.search(r"\d+$", pathlib.PurePath(sample.image).stem) for sample in dataset]
        numbers = [int(end[0]) for end in ends if end]
    distinct = len(set(numbers)) == len(given)
    return numbers if distinct else list(range(1, len(given) + 1))


def results(dataset: Dataset, found: Detections) -> list[dict[str, Any]]:
    """The results JSON's records: boxes in pixels, cut to the image, with the six digits that C prints."""
    images, numbers = identities(dataset), categories(dataset)
    corners = found.pixels().astype(float)
    sizes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).round(6).tolist()
    rows = zip(found.image.tolist(), found.classes.tolist(), sizes, found.confidence.tolist(), strict=True)
    return [
        {"image_id": images[image], "category_id": numbers[k], "bbox": box, "score": round(confidence, 6)}
        for image, k, box, confidence in rows
    ]


def ground_truth(dataset: Dataset, found: Detections) -> dict[str, Any]:
    """The data set in the form of COCO's annotation file; an object's area is its box's."""
    images, numbers, sizes = identities(dataset), categories(dataset), found.sizes.tolist()
    objects: list[dict[str, Any]] = []
    for image, (width, height), sample in zip(images, sizes, dataset, strict=True):
        for rows, crowd in ((sample.targets, 0), (sample.ignored, 1)):
            for x, y, w, h, k in rows.astype(float).tolist():
                box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
                record = {"image_id": image, "category_id": numbers[int(k)], "bbox": box, "area": box[2] * box[3]}
                objects.append(record | {"id": len(objects) + 1, "iscrowd": crowd})
    return {
        "info": {},
        "images": [
            {"id": number, "file_name": pathlib.PurePath(sample.image).name, "width": width, "height": height}
            for number, sample, (width, height) in zip(images, dataset, sizes, strict=True)
        ],
        "categories": [{"id": number, "name": name} for number, name in zip(numbers, dataset.names, strict=True)],
        "annotations": objects,
    }


class Counted(NamedTuple):
    """Which package counted, its twelve numbers by name, and AP by class; -1 where there is nothing to count."""

    package: str
    statistics: dict[str, float]
    by_class: list[float]


def evaluate(dataset: Dataset, found: Detections, package: str | None = None) -> Counted:
    """Count what was found; ``package``: see ``backend``.

    A data set from COCO's JSON is counted against that file, with its areas and crowds.
    """
    package, (coco, evaluator) = backend(package)
    with contextlib.redirect_stdout(io.StringIO()):
        if dataset.source.endswith(".json"):
            target = coco(dataset.source)
        else:
            target = coco()
            target.dataset = ground_truth(dataset, found)
            target.createIndex()
        records = results(dataset, found)
        if not records:
            return Counted(package, dict.fromkeys(STATISTICS, 0.0), [0.0] * len(dataset.names))
        counter = evaluator(target, target.loadRes(records), "bbox")
        counter.evaluate()
        counter.accumulate()
        counter.summarize()
    order = {number: place for place, number in enumerate(counter.params.catIds)}
    precision = counter.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes; all areas, 100 boxes
    areas = []
    for number in categories(dataset):
        valid = precision[:, :, order[number]] if number in order else np.zeros(0)
        valid = valid[valid > -1]
        areas.append(float(valid.mean()) if valid.size else -1.0)
    return Counted(package, dict(zip(STATISTICS, map(float, counter.stats), strict=True)), areas)
