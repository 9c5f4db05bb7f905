"""COCO's annotation files (instances), as COCO, Roboflow, CVAT and others write them."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..files import create_folder
from ..messages import get_logger
from ..text_files import describe_json_error, read_text, to_unicode
from .dataset import Dataset, Sample
from .image_finder import AnnotatedFile, ImageFinder
from .labels import Problem, check_target
from .segmentation import bounding_box
from .subsets import DECIMALS, SUBSETS, WrittenDataset, WrittenImage, spellings, write_json

_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO91 = tuple(number for number in range(1, 91) if number not in _GAPS)
"""Category ids of COCO's 80 classes, in Darknet's order."""

_NO_IMAGE = "annotations are of an image that is not in the file"
_NO_CATEGORY = "annotations are of a category that is not in the file"
_NO_BOX = "annotations have no box"
_NO_SIZE = "annotations are of an image of unknown size"
_REPEATED_IMAGE = "images are in the file several times"
_log = get_logger(__name__)


def find_coco(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return the annotation file that a path names: itself, or that of the subset in Roboflow's or COCO's folders.

    If the folder has no such subset, it is that of the training images, which is logged.
    """
    if path.suffix.lower() == ".json":
        return path
    if not os.path.isdir(path):
        return None
    if (found := _find_file(path, subset)) is None and (found := _find_file(path, "train")):
        _log.warning("%s has no %s: using %s", path, subset, found)
    return found


def coco_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have an annotation file of their own."""
    return tuple(subset for subset in SUBSETS if os.path.isdir(path) and _find_file(path, subset, alone=False)) or (
        "train",
    )


def _find_file(folder: pathlib.Path, subset: str, *, alone: bool = True) -> pathlib.Path | None:
    """The annotation file of a subset; ``alone``: or the only one of the folder, in Roboflow's layout."""
    inner = [*spellings(subset), *([""] if alone else [])]
    found = [path for name in inner if os.path.isfile(path := folder / name / "_annotations.coco.json")]
    for name in spellings(subset):  # instances_val2017.json
        found += sorted((folder / "annotations").glob(f"instances_{name}[0-9]*.json"))
        found += (folder / "annotations").glob(f"instances_{name}.json")
    return found[0] if found else None


def load_coco(path: StrPath) -> Dataset:
    """Load a COCO annotation file. Crowds become ignored objects; classes are numbered in the order of categories.

    A category without objects that is the ``supercategory`` of all others, such as Roboflow writes, is left out and
    reported. An annotation that cannot be used is reported; the others are read. One without a ``bbox`` has the box
    around its ``segmentation``. If every object is a crowd (CVAT marks masks so), they are objects.

    Images are searched in the folder of the file and its parent, and there in COCO's folders (``val2017/``,
    ``images/val2017/``) and FiftyOne's (``data/``). One without a width and height is opened for them.

    Raises:
        DataError: the file cannot be read or has another structure.
    """
    source = os.fspath(path)
    problems: list[Problem] = []
    try:
        content = json.loads(to_unicode(read_text(path)))
        annotations = list(content.get("annotations") or ())
        categories = _read_categories(content["categories"], annotations, source, problems)
        class_of = {category: index for index, (category, _) in enumerate(categories)}
        images = _read_images(content["images"], path, problems)
        all_crowds = bool(annotations) and all(map(is_crowd, annotations))
        if all_crowds:
            message = f"all {len(annotations)} annotations have iscrowd=1, as CVAT writes masks: read as objects"
            problems.append(Problem(source, message))
        boxes: dict[tuple[str, bool], list[tuple[float, ...]]] = {}
        for number, entry in enumerate(annotations):
            location = f"{source}: annotation {entry.get('id', number)}"
            if (row := _read_annotation(entry, images, class_of, location, problems)) is not None:
                key = (str(entry["image_id"]), is_crowd(entry) and not all_crowds)
                boxes.setdefault(key, []).append(row)
        samples = [_sample(number, image.path, boxes) for number, image in images.items()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        expected = "expected COCO's annotations (images, annotations with bbox, categories)"
        raise DataError(f"{path}: {expected}: {describe_json_error(error)}") from error
    names = tuple(name for _, name in categories)
    numbers = tuple(category for category, _ in categories)
    is_unchanged = (
        not all_crowds
        and sum(map(len, boxes.values())) == len(annotations)
        and all(entry.get("bbox") for entry in annotations)
        and all(sample.image_id is not None for sample in samples)
    )
    return Dataset(samples, names, problems, source, numbers, annotations=source if is_unchanged else "")


def _read_categories(
    entries: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], source: str, problems: list[Problem]
) -> list[tuple[int, str]]:
    """The number and name of each category that is a class, in the order of their numbers."""
    entries = sorted(entries, key=lambda entry: (int(entry["id"]), str(entry["name"])))
    used = {str(entry.get("category_id")) for entry in annotations}
    categories: dict[int, str] = {}
    for entry in entries:
        number, name = int(entry["id"]), str(entry["name"])
        others = [other for other in entries if other is not entry]
        heads_all = bool(others) and all(other.get("supercategory") == name for other in others)
        if heads_all and str(entry["id"]) not in used:
            message = f"category {name!r} has no objects and is the supercategory of all others: left out"
            problems.append(Problem(source, message))
        elif categories.setdefault(number, name) != name:
            message = f"category {number} is {categories[number]!r} and {name!r}; the first is read"
            problems.append(Problem(source, message))
    return list(categories.items())


def _read_images(
    entries: Sequence[Mapping[str, Any]], path: StrPath, problems: list[Problem]
) -> dict[str, AnnotatedFile]:
    """The images by their ids as text, as some programs write numbers as text in one place and not in the other."""
    finder = ImageFinder(path)
    images: dict[str, AnnotatedFile] = {}
    for entry in entries:
        key, image = str(entry["id"]), AnnotatedFile(finder.expect(str(entry["file_name"])), entry)
        if key in images:
            message = f"image {key} is in the file as {images[key].path} and {image.path}; the first is read"
            problems.append(Problem(os.fspath(path), message, _REPEATED_IMAGE))
        else:
            images[key] = image
    return images


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation is of a crowd; some programs write numbers as text."""
    return str(entry.get("iscrowd") or 0) != "0"


def _read_annotation(
    entry: Mapping[str, Any],
    images: Mapping[str, AnnotatedFile],
    class_of: Mapping[int, int],
    location: str,
    problems: list[Problem],
) -> tuple[float, ...] | None:
    """The target of an annotation; None if it cannot be used, which is reported."""
    image = images.get(str(entry.get("image_id")))
    if image is None:
        problems.append(Problem(location, f"image {entry.get('image_id')} is not in the file; ignored", _NO_IMAGE))
        return None
    text = str(entry.get("category_id"))  # some programs write numbers as text
    category = int(text) if text.isdecimal() else -1
    if category not in class_of:
        problems.append(Problem(location, f"category {text} is not in the file; ignored", _NO_CATEGORY))
        return None
    try:
        width, height = image.size
    except (DataError, TypeError, ValueError) as error:
        message = f"the image has no width and height, and cannot be read ({error}); ignored"
        problems.append(Problem(location, message, _NO_SIZE))
        return None
    bbox, outline = entry.get("bbox"), entry.get("segmentation")
    has_box = bool(bbox) or not outline
    try:
        x, y, w, h = map(float, bbox) if has_box else bounding_box(outline)  # type: ignore[arg-type]
        row = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height, class_of[category])
    except (TypeError, ValueError, KeyError, OverflowError):
        found = bbox if has_box else outline
        message = f"expected a bbox of 4 numbers, or a segmentation, got {found!r:.60}; ignored"
        problems.append(Problem(location, message, _NO_BOX))
        return None
    problems.extend(check_target(row, location))
    return row if all(map(math.isfinite, row)) else None


def _sample(key: str, path: str, boxes: Mapping[tuple[str, bool], Any]) -> Sample:
    targets, ignored = (np.array(boxes.get((key, crowd), ()), np.float32).reshape(-1, 5) for crowd in (False, True))
    return Sample(path, targets, ignored, int(key) if key.isdecimal() else None)


def category_ids(dataset: Dataset) -> tuple[int, ...]:
    """Return the COCO category id of each class; a data set of 80 classes is taken for one of COCO's."""
    if dataset.categories:
        return dataset.categories
    return COCO91 if len(dataset.names) == len(COCO91) else tuple(range(1, len(dataset.names) + 1))


def to_annotations(
    images: Sequence[WrittenImage],
    ids: Sequence[int],
    names: Sequence[str],
    categories: Sequence[int],
    decimals: int | None = None,
) -> dict[str, Any]:
    """Return images and their objects in COCO's annotation format; the area of an object is that of its box.

    Args:
        images: the images.
        ids: number of each image.
        names: names of the classes.
        categories: number of each class.
        decimals: of the boxes in pixels; None: all.

    https://cocodataset.org/#format-data
    """
    annotations: list[dict[str, Any]] = []
    for number, image in zip(ids, images, strict=True):
        for item in image.objects():
            box = [item.left, item.top, item.width, item.height]
            if decimals is not None:
                box = [round(value, decimals) for value in box]
            record: dict[str, Any] = {"image_id": number, "category_id": categories[item.cls], "segmentation": []}
            record |= {"bbox": box, "area": box[2] * box[3]}
            if item.confidence is not None:
                record["score"] = item.confidence
            annotations.append(record | {"id": len(annotations) + 1, "iscrowd": int(item.is_ignored)})
    return {
        "info": {},
        "images": [
            {
                "id": number,
                "file_name": pathlib.PurePath(image.file).name,
                "width": image.width,
                "height": image.height,
            }
            for number, image in zip(ids, images, strict=True)
        ],
        "categories": [{"id": number, "name": name} for number, name in zip(categories, names, strict=True)],
        "annotations": annotations,
    }


def write_coco(data: WrittenDataset) -> None:
    """Write an annotation file for each list; ignored objects are crowds, whose area has no mask here."""
    folder = create_folder(data.root / "annotations")
    for subset in data.subsets:
        images = list(data.images(subset))
        given = [image.sample.image_id for image in images]
        kept = [number for number in given if number is not None]
        ids = kept if len(set(kept)) == len(images) else range(1, len(images) + 1)
        content = to_annotations(images, ids, data.names, data.categories, DECIMALS)
        write_json(folder / f"instances_{subset}.json", content)
