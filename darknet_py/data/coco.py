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
from ..text_files import PathFinder, read_text, to_unicode
from .dataset import Dataset, Sample
from .labels import Problem, check_target

_NO_IMAGE = "annotations are of an image that is not in the file"
_NO_CATEGORY = "annotations are of a category that is not in the file"
_NO_BOX = "annotations have no bbox"


def load_coco(path: StrPath) -> Dataset:
    """Load a COCO annotation file. Crowds become ignored objects; classes are numbered in the order of categories.

    A category without objects that is the ``supercategory`` of all others, such as Roboflow writes, is left out and
    reported. An annotation that cannot be used is reported; the others are read. If every object is a crowd (CVAT
    marks masks so), they are objects.

    Images are searched in the folder of the file and its parent, and there in COCO's folders (``val2017/``,
    ``images/val2017/``).

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
        images = {entry["id"]: entry for entry in content["images"]}
        all_crowds = bool(annotations) and all(entry.get("iscrowd", 0) for entry in annotations)
        if all_crowds:
            message = f"all {len(annotations)} annotations have iscrowd=1, as CVAT writes masks: read as objects"
            problems.append(Problem(source, message))
        boxes: dict[tuple[Any, bool], list[tuple[float, ...]]] = {}
        for number, entry in enumerate(annotations):
            location = f"{source}: annotation {entry.get('id', number)}"
            if (row := _read_annotation(entry, images, class_of, location, problems)) is not None:
                is_crowd = bool(entry.get("iscrowd", 0)) and not all_crowds
                boxes.setdefault((entry["image_id"], is_crowd), []).append(row)
        finder = _ImageFinder(path)
        samples = [_sample(finder, entry, boxes) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        message = f"expected COCO's annotations (images, annotations with bbox, categories): {error!r}"
        raise DataError(f"{path}: {message}") from error
    names = tuple(name for _, name in categories)
    numbers = tuple(category for category, _ in categories)
    is_unchanged = not all_crowds and sum(map(len, boxes.values())) == len(annotations)
    return Dataset(samples, names, problems, source, numbers, annotations=source if is_unchanged else "")


def _read_categories(
    entries: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], source: str, problems: list[Problem]
) -> list[tuple[int, str]]:
    """The number and name of each category that is a class, in the order of their numbers."""
    entries = sorted(entries, key=lambda entry: (int(entry["id"]), str(entry["name"])))
    used = {str(entry.get("category_id")) for entry in annotations}
    categories = []
    for entry in entries:
        others = [other for other in entries if other is not entry]
        heads_all = bool(others) and all(other.get("supercategory") == entry["name"] for other in others)
        if heads_all and str(entry["id"]) not in used:
            message = f"category {entry['name']!r} has no objects and is the supercategory of all others: left out"
            problems.append(Problem(source, message))
        else:
            categories.append((int(entry["id"]), str(entry["name"])))
    return categories


def _read_annotation(
    entry: Mapping[str, Any],
    images: Mapping[Any, Mapping[str, Any]],
    class_of: Mapping[int, int],
    location: str,
    problems: list[Problem],
) -> tuple[float, ...] | None:
    """The target of an annotation; None if it cannot be used, which is reported."""
    image = images.get(entry.get("image_id"))
    if image is None:
        problems.append(Problem(location, f"image {entry.get('image_id')} is not in the file; ignored", _NO_IMAGE))
        return None
    text = str(entry.get("category_id"))  # some programs write numbers as text
    category = int(text) if text.isdecimal() else -1
    if category not in class_of:
        problems.append(Problem(location, f"category {text} is not in the file; ignored", _NO_CATEGORY))
        return None
    bbox = entry.get("bbox")
    try:
        x, y, w, h = map(float, bbox)  # type: ignore[arg-type]
        width, height = float(image["width"]), float(image["height"])
        row = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height, class_of[category])
    except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        message = f"expected a bbox of 4 numbers in an image with a width and height, got {bbox!r:.60}; ignored"
        problems.append(Problem(location, message, _NO_BOX))
        return None
    problems.extend(check_target(row, location))
    return row if all(map(math.isfinite, row)) else None


class _ImageFinder:
    """Finds the images of an annotation file, first in the folder where the last one was."""

    def __init__(self, path: StrPath) -> None:
        file = pathlib.Path(path)
        subset = file.stem.split("_", 1)[-1]  # instances_val2017.json annotates the images of val2017/
        roots = (file.parent, file.parent.parent)
        self._folders = [root / inner for root in roots for inner in ("", subset, "images", f"images/{subset}")]
        self._last = self._folders[0]
        self._finder = PathFinder(path)

    def find(self, name: str) -> str:
        """Return the path of an image; that in the file's folder if there is none."""
        for path in dict.fromkeys((name, name.replace("\\", "/"))):
            for folder in (self._last, *self._folders):
                if os.path.isfile(folder / path):
                    self._last = folder
                    return str(folder / path)
        return self._finder.find(name) or str(self._folders[0] / name)


def _sample(finder: _ImageFinder, entry: Mapping[str, Any], boxes: Mapping[tuple[Any, bool], Any]) -> Sample:
    targets, ignored = (
        np.array(boxes.get((entry["id"], is_crowd), ()), np.float32).reshape(-1, 5) for is_crowd in (False, True)
    )
    number = str(entry["id"])
    return Sample(finder.find(str(entry["file_name"])), targets, ignored, int(number) if number.isdecimal() else None)
