"""Result files of ``detector valid``, in the formats that evaluation servers and scripts of data sets read.

    coco      coco_results.json                  records of COCO's results format
    voc       comp4_det_test_CLASS.txt           image, confidence, x1, y1, x2, y2; pixels count from 1
    imagenet  imagenet-detection.txt             image and class from 1, confidence, x1, y1, x2, y2
    bdd       bdd_results.json                   name, category, bbox (x1, y1, x2, y2), score
    kitti     kitti_results/data/IMAGE.txt       class, 3 unused, x1, y1, x2, y2, 7 unused, confidence

Boxes are in pixels and clipped to the image. Without detections the JSON is valid too, unlike C's.
"""

from __future__ import annotations

import enum
import json
import pathlib
from collections.abc import Iterable

from .._typing import StrPath
from ..data.dataset import Dataset
from ..files import atomic_write, check_outputs, create_folder
from . import coco
from .detections import Detections

BDD = ("bike", "bus", "car", "motor", "person", "rider", "traffic light", "traffic sign", "train", "truck")
KITTI = ("car", "pedestrian", "cyclist")


class Format(enum.StrEnum):
    """Values of ``eval=`` in a ``.data`` file; Darknet takes every other value for voc."""

    COCO = "coco"
    VOC = "voc"
    IMAGENET = "imagenet"
    BDD = "bdd"
    KITTI = "kitti"


def write(
    dataset: Dataset,
    detections: Detections,
    kind: Format | str,
    folder: StrPath = "results",
    stem: str = "",
    first_pixel: int = 1,
) -> list[pathlib.Path]:
    """Write detections on a data set that has a name for each class, and return the files.

    ``stem`` replaces the default file name (``coco_results``, ``comp4_det_test_``, ...); ``first_pixel`` is the number
    of the first pixel in the files of ``voc``. Raises DataError if a file cannot be written.
    """
    kind = Format(kind)
    target = pathlib.Path(folder)
    if kind is Format.VOC:
        contents = dict(_voc(dataset, detections, stem, first_pixel))
    else:
        contents = dict(_WRITERS[kind](dataset, detections, stem))
    check_outputs([target / name for name in contents], dataset.files())
    for name, text in contents.items():
        create_folder((target / name).parent)
        # Of file names that are not UTF-8: their bytes in a text, escapes in JSON.
        errors = "backslashreplace" if name.endswith(".json") else "surrogateescape"
        with atomic_write(target / name, "w", encoding="utf-8", errors=errors) as file:
            file.write(text)
    return [target / name for name in contents]


Contents = Iterable[tuple[str, str]]


def _coco(dataset: Dataset, detections: Detections, stem: str) -> Contents:
    yield f"{stem or 'coco_results'}.json", _records(coco.to_results(dataset, detections))


def _voc(dataset: Dataset, detections: Detections, stem: str, first_pixel: int) -> Contents:
    lines: list[list[str]] = [[] for _ in dataset.names]
    stems = _stems(dataset)
    for image, cls, confidence, corners in _rows(detections, offset=first_pixel):
        lines[cls].append(f"{stems[image]} {confidence:f} {_numbers(corners)}\n")
    for name, text in zip(dataset.names, lines, strict=True):
        yield f"{stem or 'comp4_det_test_'}{_safe_name(name)}.txt", "".join(text)


def _imagenet(dataset: Dataset, detections: Detections, stem: str) -> Contents:
    lines = [
        f"{image + 1} {cls + 1} {confidence:f} {_numbers(corners)}\n"
        for image, cls, confidence, corners in _rows(detections)
    ]
    yield f"{stem or 'imagenet-detection'}.txt", "".join(lines)


def _bdd(dataset: Dataset, detections: Detections, stem: str) -> Contents:
    names = BDD if len(dataset.names) == len(BDD) else dataset.names
    images = [pathlib.PurePath(sample.image).name for sample in dataset]
    records = [
        {
            "name": images[image],
            "category": names[cls],
            "bbox": [round(value, 6) for value in corners],
            "score": round(confidence, 6),
        }
        for image, cls, confidence, corners in _rows(detections)
    ]
    yield f"{stem or 'bdd_results'}.json", _records(records)


def _kitti(dataset: Dataset, detections: Detections, stem: str) -> Contents:
    names = KITTI if len(dataset.names) == len(KITTI) else dataset.names
    lines: list[list[str]] = [[] for _ in dataset]
    for image, cls, confidence, corners in _rows(detections):
        lines[image].append(
            f"{names[cls]} -1 -1 -10 {_numbers(corners)} -1 -1 -1 -1000 -1000 -1000 -10 {confidence:f}\n"
        )
    for name, text in zip(_stems(dataset), lines, strict=True):
        yield f"{stem or 'kitti_results'}/data/{name}.txt", "".join(text)


_WRITERS = {
    Format.COCO: _coco,
    Format.IMAGENET: _imagenet,
    Format.BDD: _bdd,
    Format.KITTI: _kitti,
}


def _rows(detections: Detections, offset: float = 0.0) -> Iterable[tuple[int, int, float, list[float]]]:
    """Image, class, confidence and (x1, y1, x2, y2) in pixels of each detection."""
    corners = detections.pixels(offset).tolist()
    classes, confidence = detections.classes.tolist(), detections.confidence.tolist()
    return zip(detections.image.tolist(), classes, confidence, corners, strict=True)


def _stems(dataset: Dataset) -> list[str]:
    return [pathlib.PurePath(sample.image).stem for sample in dataset]


def _safe_name(name: str) -> str:
    """Return a class name as part of a file name."""
    return name.replace("/", "_").replace("\\", "_")


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:f}" for value in values)


def _records(records: Iterable[object]) -> str:
    return "[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n"
