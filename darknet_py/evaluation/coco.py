"""COCO's results format and evaluation: mAP by pycocotools (``COCOeval``) or faster_coco_eval.

faster_coco_eval (https://pypi.org/project/faster-coco-eval) computes the same numbers as pycocotools in less time.

Darknet's class numbers are 0..79, COCO's category ids 1..90 with gaps. A detector of 80 classes is taken for one of
COCO's, as in ``detector valid``; other classes get ids from 1. An image id is the one of the annotation file that the
data set was read from, else the digits at the end of its file name (``COCO_val2014_000000000042.jpg`` is 42, where
Darknet writes 0), else its position in the list from 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import pkgutil
import re
from typing import Any, NamedTuple

import numpy as np

from .._typing import StrPath
from ..data import coco
from ..data.coco import category_ids
from ..data.dataset import Dataset
from ..data.subsets import WrittenImage
from ..text_files import read_text, to_unicode
from .detections import Detections

STATISTICS = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)
"""Names of the twelve numbers of ``COCOeval.stats``."""


CocoClasses = tuple[Any, Any]  # COCO and COCOeval

BACKENDS = {"pycocotools": ("coco.COCO", "cocoeval.COCOeval"), "faster_coco_eval": ("COCO", "COCOeval_faster")}
"""Packages that evaluate, in order of preference, with the names of their COCO and COCOeval classes."""


def find_backend(name: str | None = None) -> tuple[str, CocoClasses]:
    """Return the package ``name``, or the first that is installed, and its classes COCO and COCOeval.

    Raises ImportError with the command that installs it.
    """
    for package, class_names in BACKENDS.items():
        if name not in (None, package):
            continue
        with contextlib.suppress(ModuleNotFoundError):
            return package, tuple(pkgutil.resolve_name(f"{package}.{class_name}") for class_name in class_names)
    if name is None:
        raise ImportError("the coco protocol needs pycocotools: pip install 'darknet-torch[eval]'")
    raise ImportError(f"{name}: not installed: pip install {name.replace('_', '-')}")


def image_ids(dataset: Dataset) -> list[int]:
    """Return the COCO id of each image, all distinct."""
    given = [sample.image_id for sample in dataset]
    ids = [number for number in given if number is not None]
    if len(ids) < len(given):
        digits = [re.search(r"\d+$", pathlib.PurePath(sample.image).stem) for sample in dataset]
        ids = [int(match[0]) for match in digits if match]
    distinct = len(set(ids)) == len(given)
    return ids if distinct else list(range(1, len(given) + 1))


def to_results(dataset: Dataset, detections: Detections) -> list[dict[str, Any]]:
    """Return records of COCO's results format, with ``bbox`` (x, y, w, h) in pixels, clipped and rounded as in C.

    https://cocodataset.org/#format-results
    """
    ids, categories = image_ids(dataset), category_ids(dataset)
    corners = detections.pixels().astype(float)
    boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).round(6).tolist()
    rows = zip(
        detections.image.tolist(), detections.classes.tolist(), boxes, detections.confidence.tolist(), strict=True
    )
    return [
        {"image_id": ids[image], "category_id": categories[cls], "bbox": box, "score": round(confidence, 6)}
        for image, cls, box, confidence in rows
    ]


def to_annotations(dataset: Dataset, detections: Detections) -> dict[str, Any]:
    """Return the data set in COCO's annotation format; the area of an object is that of its box.

    ``detections`` provide the sizes of the images. https://cocodataset.org/#format-data
    """
    images = [
        WrittenImage(sample.image, width, height, sample)
        for sample, (width, height) in zip(dataset, detections.sizes.tolist(), strict=True)
    ]
    return coco.to_annotations(images, image_ids(dataset), dataset.names, category_ids(dataset))


class CocoScores(NamedTuple):
    """Results of ``COCOeval``: the package, its twelve statistics by name, and AP of each class; -1 without targets."""

    package: str
    statistics: dict[str, float]
    average_precision: list[float]


def _read_ground_truth(path: StrPath) -> dict[str, Any]:
    """The content of an annotation file that ``load_coco`` has read as it is, in the form that pycocotools needs.

    Annotations are numbered from 1, as pycocotools takes a match with number 0 for none. Where they lack an ``area``
    it is that of the box.
    """
    content = json.loads(to_unicode(read_text(path)))
    images = {int(entry["id"]): entry for entry in reversed(content["images"])}
    annotations = []
    for number, entry in enumerate(content.get("annotations") or (), start=1):
        box = list(map(float, entry["bbox"]))
        strict: dict[str, Any] = {"id": number, "bbox": box, "area": float(entry.get("area") or box[2] * box[3])}
        strict |= {"image_id": int(entry["image_id"]), "category_id": int(entry["category_id"])}
        annotations.append(entry | strict | {"iscrowd": int(coco.is_crowd(entry))})
    return {
        "info": {},
        "images": [entry | {"id": number} for number, entry in reversed(images.items())],
        "categories": [entry | {"id": int(entry["id"])} for entry in content["categories"]],
        "annotations": annotations,
    }


def evaluate_coco(dataset: Dataset, detections: Detections, package: str | None = None) -> CocoScores:
    """Run ``COCOeval``; ``package``: see ``find_backend``.

    A data set read from COCO's annotation file is evaluated against that file, with its areas and crowds.
    """
    package, (coco_class, eval_class) = find_backend(package)
    with contextlib.redirect_stdout(io.StringIO()):
        target = coco_class()
        target.dataset = (
            _read_ground_truth(dataset.annotations) if dataset.annotations else to_annotations(dataset, detections)
        )
        target.createIndex()
        records = to_results(dataset, detections)
        if not records:
            return CocoScores(package, dict.fromkeys(STATISTICS, 0.0), [0.0] * len(dataset.names))
        evaluator = eval_class(target, target.loadRes(records), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    index = {category: position for position, category in enumerate(evaluator.params.catIds)}
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all areas, 100 detections
    average_precision = []
    for category in category_ids(dataset):
        valid = precision[:, :, index[category]] if category in index else np.zeros(0)
        valid = valid[valid > -1]
        average_precision.append(float(valid.mean()) if valid.size else -1.0)
    return CocoScores(package, dict(zip(STATISTICS, map(float, evaluator.stats), strict=True)), average_precision)
