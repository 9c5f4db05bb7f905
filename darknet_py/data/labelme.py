"""LabelMe's annotations: a JSON file beside each image.

    labels.txt  train/1.jpg  train/1.json

https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import DataError
from ..images.inspection import read_size
from ..text_files import IMAGE_SUFFIXES, describe_json_error, read_lines, read_text, to_unicode
from .dataset import Dataset
from .image_finder import ImageFinder
from .labels import Problem
from .named_objects import NO_ANNOTATION, AnnotatedImage, occurring_names, to_dataset
from .subsets import DECIMALS, SUBSETS, WrittenDataset, WrittenImage, one_line, spellings, write_json, write_lines

_NAMES = "labels.txt"
_NO_CLASSES = ("__ignore__", "_background_")  # lines of labels.txt that are no classes of objects
_TRIED = 5  # files by which a folder is recognised: the first ones may be broken
_NO_BOXES = ("point", "points", "line", "linestrip")


def find_labelme(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return a folder that has, itself or in its folders of the subsets, annotations of LabelMe."""
    if not os.path.isdir(path):
        return None
    files = (file for folder in (path, *_folders(path, *SUBSETS)) for file in _annotations(folder))
    return path if any(map(_is_annotation, itertools.islice(files, _TRIED))) else None


def labelme_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have a folder with annotations; "train" if they have none."""
    return tuple(s for s in SUBSETS if any(_annotations(folder) for folder in _folders(path, s))) or ("train",)


def load_labelme(path: pathlib.Path, subset: str = "valid") -> Dataset:
    """Load a folder of annotations: those in its folder of the subset, or else in the folder itself.

    Shapes give their bounding boxes; shapes without a box, such as points, are reported. Classes are numbered as in
    ``labels.txt``, or by the sorted names of all subsets.

    Raises:
        DataError: ``labels.txt`` cannot be read.
    """
    everywhere = [
        _read_annotation(file) for folder in (path, *_folders(path, *SUBSETS)) for file in _annotations(folder)
    ]
    own = next((folder for folder in _folders(path, subset) if _annotations(folder)), path)
    images = [image for image in everywhere if pathlib.Path(image.location).parent == own] or everywhere
    lists = [file for folder in (path, path.parent) if os.path.isfile(file := folder / _NAMES)]
    lines = [to_unicode(line).strip() for line in read_lines(lists[0])] if lists else occurring_names(everywhere)
    names = [name for name in dict.fromkeys(lines) if name and name not in _NO_CLASSES]
    dataset = to_dataset(images, names, os.fspath(path))
    return replace(dataset, read_from=(*dataset.read_from, *map(str, lists)))


def _folders(path: pathlib.Path, *subsets: str) -> Iterator[pathlib.Path]:
    yield from (folder for subset in subsets for name in spellings(subset) if os.path.isdir(folder := path / name))


def _annotations(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in folder.glob("*.json") if not file.name.startswith("."))


def _is_annotation(path: pathlib.Path) -> bool:
    """Whether a file is LabelMe's, and its image has no label file of Darknet beside it."""
    try:
        content = json.loads(to_unicode(read_text(path)))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "shapes" in content and not os.path.isfile(path.with_suffix(".txt"))


def _read_annotation(path: pathlib.Path) -> AnnotatedImage:
    location = str(path)
    finder = ImageFinder(path)
    try:
        content = json.loads(to_unicode(read_text(path)))
        name = str(content["imagePath"])
        image = finder.find(name) or finder.expect(pathlib.PureWindowsPath(name).name)
        size = (content.get("imageWidth"), content.get("imageHeight"))
        width, height = map(float, size) if all(size) else read_size(image)
        annotated = AnnotatedImage(image, location, (width, height))
        for number, shape in enumerate(content["shapes"], start=1):
            _add_shape(annotated, shape, f"{location}: shape {number}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = (
            str(error)
            if isinstance(error, DataError)
            else f"expected LabelMe's annotation: {describe_json_error(error)}"
        )
        message = f"{reason.removeprefix(f'{path}: ')}; treated as an image without objects"
        problem = Problem(location, message, NO_ANNOTATION)
        names = (f"{path.stem}{suffix}" for suffix in (".jpg", *IMAGE_SUFFIXES))
        image = next(filter(None, map(finder.find, names)), str(path.with_suffix(".jpg")))
        return AnnotatedImage(image, location, (1, 1), problems=[problem])
    return annotated


def _add_shape(image: AnnotatedImage, shape: Mapping[str, Any], location: str) -> None:
    kind = shape.get("shape_type") or "polygon"
    points = [[float(value) for value in point] for point in shape["points"]]
    label = str(shape["label"]).strip()
    if kind == "circle":
        centre, edge = points
        radius = math.dist(centre, edge)
        image.add_ellipse(label, centre, (radius, radius), 0, location)
    elif kind in _NO_BOXES or len(points) < 2:
        image.skip(kind, location)
    else:
        image.add_points(label, points, location)


def write_labelme(data: WrittenDataset) -> None:
    """Write an annotation beside each image, and ``labels.txt``; ignored objects are left out."""
    for image in data.images():
        write_json((data.root / image.file).with_suffix(".json"), _to_content(image, data))
    write_lines(data.root / _NAMES, [*_NO_CLASSES, *map(one_line, data.names)])


def _to_content(image: WrittenImage, data: WrittenDataset) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    for item in image.objects():
        if not item.is_ignored:
            left, top, right, bottom = (round(edge, DECIMALS) for edge in item.corners)
            shape = {"label": one_line(data.names[item.cls]), "points": [[left, top], [right, bottom]]}
            score = "" if item.confidence is None else f"score {item.confidence:.3f}"
            shapes.append(shape | {"group_id": None, "description": score, "shape_type": "rectangle", "flags": {}})
    name = pathlib.PurePosixPath(image.file).name
    size = {"imageHeight": image.height, "imageWidth": image.width}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None} | size
