"""The files that ``detector valid`` writes: detections as the servers and scripts of data sets want them.

    coco      coco_results.json                    records of COCO's results format
    voc       comp4_det_test_CLASS.txt a class     image, confidence, left, top, right, bottom from 1
    imagenet  imagenet-detection.txt               image and class from 1, confidence, edges
    bdd       bdd_results.json                     name, category, bbox of two corners, score
    kitti     kitti_results/data/IMAGE.txt       class, unknowns, edges, unknowns, confidence

Boxes are in pixels of the image and cut to it. The JSON is valid where nothing was found, too.
"""

from __future__ import annotations

import enum
import json
import pathlib
from collections.abc import Iterable

from .._typing import StrPath
from ..data.data_file import Dataset
from ..errors import DataError
from ..files import replacing
from . import coco
from .detections import Detections

BDD = ("bike", "bus", "car", "motor", "person", "rider", "traffic light", "traffic sign", "train", "truck")
KITTI = ("car", "pedestrian", "cyclist")


class Format(enum.StrEnum):
    """What ``eval=`` of a ``.data`` file may say; Darknet takes every other word for voc."""

    COCO = "coco"
    VOC = "voc"
    IMAGENET = "imagenet"
    BDD = "bdd"
    KITTI = "kitti"


def write(
    dataset: Dataset, found: Detections, kind: Format | str, folder: StrPath = "results", stem: str = ""
) -> list[pathlib.Path]:
    """Write what was found on a data set, which has a name for each class; return the files.

    ``stem``: instead of the default file name (``coco_results``, ``comp4_det_test_``, ...). Raises DataError.
    """
    kind = Format(kind)
    place = pathlib.Path(folder)
    contents = dict(_WRITERS[kind](dataset, found, stem))
    try:
        for name, text in contents.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing(place / name, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise DataError(f"{error.filename or place}: {error.strerror or error}") from error
    return [place / name for name in contents]


Contents = Iterable[tuple[str, str]]


def _coco(dataset: Dataset, found: Detections, stem: str) -> Contents:
    yield f"{stem or 'coco_results'}.json", _records(coco.results(dataset, found))


def _voc(dataset: Dataset, found: Detections, stem: str) -> Contents:
    lines: list[list[str]] = [[] for _ in dataset.names]
    stems = _stems(dataset)
    for image, k, confidence, edges in _rows(found, offset=1):
        lines[k].append(f"{stems[image]} {confidence:f} {_numbers(edges)}\n")
    for name, text in zip(dataset.names, lines, strict=True):
        yield f"{stem or 'comp4_det_test_'}{_safe(name)}.txt", "".join(text)


def _imagenet(dataset: Dataset, found: Detections, stem: str) -> Contents:
    lines = [f"{image + 1} {k + 1} {confidence:f} {_numbers(edges)}\n" for image, k, confidence, edges in _rows(found)]
    yield f"{stem or 'imagenet-detection'}.txt", "".join(lines)


def _bdd(dataset: Dataset, found: Detections, stem: str) -> Contents:
    names = BDD if len(dataset.names) == len(BDD) else dataset.names
    images = [pathlib.PurePath(sample.image).name for sample in dataset]
    records = [
        {
            "name": images[image],
            "category": names[k],
            "bbox": [round(edge, 6) for edge in edges],
            "score": round(confidence, 6),
        }
        for image, k, confidence, edges in _rows(found)
    ]
    yield f"{stem or 'bdd_results'}.json", _records(records)


def _kitti(dataset: Dataset, found: Detections, stem: str) -> Contents:
    names = KITTI if len(dataset.names) == len(KITTI) else dataset.names
    lines: list[list[str]] = [[] for _ in dataset]
    for image, k, confidence, edges in _rows(found):
        lines[image].append(f"{names[k]} -1 -1 -10 {_numbers(edges)} -1 -1 -1 -1000 -1000 -1000 -10 {confidence:f}\n")
    for name, text in zip(_stems(dataset), lines, strict=True):
        yield f"{stem or 'kitti_results'}/data/{name}.txt", "".join(text)


_WRITERS = {
    Format.COCO: _coco,
    Format.VOC: _voc,
    Format.IMAGENET: _imagenet,
    Format.BDD: _bdd,
    Format.KITTI: _kitti,
}


def _rows(found: Detections, offset: float = 0.0) -> Iterable[tuple[int, int, float, list[float]]]:
    """Image, class, confidence and edges in pixels of each detection."""
    edges = found.pixels(offset).tolist()
    return zip(found.image.tolist(), found.classes.tolist(), found.confidence.tolist(), edges, strict=True)


def _stems(dataset: Dataset) -> list[str]:
    return [pathlib.PurePath(sample.image).stem for sample in dataset]


def _safe(name: str) -> str:
    """A class name as part of a file's."""
    return name.replace("/", "_").replace("\\", "_")


def _numbers(edges: Iterable[float]) -> str:
    return " ".join(f"{edge:f}" for edge in edges)


def _records(records: Iterable[object]) -> str:
    return "[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n"
