"""Label Studio's tasks in JSON, as it exports (JSON and JSON-MIN) and imports them.

    label_config.xml  train.json  valid.json  images/1.jpg

https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..images.urls import url_path
from ..text_files import describe_json_error, read_text, to_unicode
from .dataset import Dataset
from .image_finder import ImageFinder
from .labels import Problem
from .named_objects import AnnotatedImage, occurring_names, rectangle_corners, to_dataset, turn_points
from .subsets import SUBSETS, WrittenDataset, WrittenImage, one_line, spellings, write_json
from .xml_files import read_xml, write_xml

_CONFIG = "label_config.xml"
_IMAGE, _LABEL = "image", "label"  # names in the labeling configuration
_LOCAL_FILES = "/data/local-files/?d="  # how Label Studio refers to a file of its local storage
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of uploaded files, before their own name
_LIST = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*\{")
_NOT_ANNOTATED = "tasks have no annotation and are treated as images without objects"
_SEVERAL = "tasks have several annotations, of which the first is used"
_PERCENT = 100.0


def find_label_studio(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return a JSON file with a list of tasks, or a folder with ``train.json`` and the like."""
    if path.suffix.lower() == ".json":
        return path if _is_list(path) else None
    return path if any(_is_list(file) for _, file in _files(path)) else None


def label_studio_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have a file; "train" for a single file."""
    return tuple(subset for subset, _ in _files(path)) or ("train",)


def load_label_studio(path: pathlib.Path, subset: str = "valid") -> Dataset:
    """Load tasks: their first annotation that is not cancelled, or else their predictions.

    Shapes give their bounding boxes. Classes are numbered as in a ``label_config.xml`` in the folder, or by the sorted
    names of all files. Images are searched by their names in the folder of the file, too.

    Raises:
        DataError: a file cannot be read, or is not a list of tasks.
    """
    files = dict(_files(path)) or {subset: path}
    tasks = {key: [_read_task(*task) for task in _read(file)] for key, file in files.items()}
    images = tasks.get(subset) or [image for part in tasks.values() for image in part]
    config = (path if os.path.isdir(path) else path.parent) / _CONFIG
    names = _configured_names(config) if os.path.isfile(config) else []
    everything = [image for part in tasks.values() for image in part]
    return to_dataset(images, names or occurring_names(everything), os.fspath(path))


def _files(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """The subsets that have a file in a folder, and the file."""
    for subset in SUBSETS:
        if file := next((f for name in spellings(subset) if os.path.isfile(f := folder / f"{name}.json")), None):
            yield subset, file


def _is_list(path: pathlib.Path) -> bool:
    """Whether a JSON file begins as a list of tasks does."""
    try:
        with open(path, "rb") as file:
            return _LIST.match(file.read(100)) is not None
    except (OSError, ValueError):
        return False


def _configured_names(path: pathlib.Path) -> list[str]:
    try:
        labels = read_xml(path).iter("Label")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return list(dict.fromkeys(name for label in labels if (name := label.get("value", "").strip())))


def _read(path: pathlib.Path) -> list[tuple[Mapping[str, Any], ImageFinder, str]]:
    """The tasks of a file, each with what finds its image, and its place in messages."""
    try:
        tasks = json.loads(to_unicode(read_text(path)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected Label Studio's tasks in JSON: {error}") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: expected a list of Label Studio's tasks")
    finder = ImageFinder(path)
    return [(task, finder, f"{path}: task {task.get('id', n)}") for n, task in enumerate(tasks, start=1)]


def _read_task(task: Mapping[str, Any], finder: ImageFinder, location: str) -> AnnotatedImage:
    image = AnnotatedImage(_find_image(task, finder), location, (1, 1))
    try:
        for number, result in enumerate(_results(task, image), start=1):
            _add_shape(image, result, f"{location}: result {number}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        message = f"expected Label Studio's results: {describe_json_error(error)}; ignored"
        image.problems.append(Problem(location, message))
    return image


def _find_image(task: Mapping[str, Any], finder: ImageFinder) -> str:
    """The image of a task: an uploaded file, one of the local storage, or a URL."""
    values = task.get("data") if isinstance(task.get("data"), dict) else task
    texts = [value for value in (values or {}).values() if isinstance(value, str)]
    text = str((values or {}).get(_IMAGE) or next(iter(texts), ""))
    _, is_local, inner = text.partition("?d=")
    name = urllib.parse.unquote(inner if is_local else url_path(text)).lstrip("/")
    base = name.rpartition("/")[2]
    candidates = dict.fromkeys((name, base, _UPLOAD_PREFIX.sub("", base)))
    return next((found for one in candidates if one and (found := finder.find(one))), finder.expect(base or "image"))


def _results(task: Mapping[str, Any], image: AnnotatedImage) -> Sequence[Mapping[str, Any]]:
    """The results of a task, each with the keys value, original_width and original_height."""
    if "annotations" not in task and "predictions" not in task:  # JSON-MIN: shapes in lists by name
        lists = (value for value in task.values() if isinstance(value, list))
        shapes = [shape for values in lists for shape in values if isinstance(shape, dict)]
        return [{**shape, "value": shape} for shape in shapes]
    given = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    if len(given) > 1:
        image.problems.append(Problem(image.location, f"{len(given)} annotations: the first is used", _SEVERAL))
    used = given or task.get("predictions") or ()
    if not used:
        message = "not annotated; treated as an image without objects"
        image.problems.append(Problem(image.location, message, _NOT_ANNOTATED))
    return used[0]["result"] if used else ()


def _label_key(value: Mapping[str, Any]) -> str:
    return next((key for key in value if key.endswith("labels")), "")


def _add_shape(image: AnnotatedImage, result: Mapping[str, Any], location: str) -> None:
    value = result["value"]
    labels = value.get(_label_key(value))
    if not labels:  # a choice, a text, or a shape whose labels are another result
        return
    image.size = (float(result.get("original_width") or 1), float(result.get("original_height") or 1))
    scale = [side / _PERCENT for side in image.size]
    degrees = float(value.get("rotation") or 0)
    for label in (str(label).strip() for label in labels):
        if "width" in value and "height" in value:
            x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
            percent = rectangle_corners(x, y, x + width, y + height)
            corners = [(px * scale[0], py * scale[1]) for px, py in percent]
            image.add_points(label, turn_points(corners, corners[0], degrees), location)
        elif "points" in value:
            image.add_points(
                label, [(float(px) * scale[0], float(py) * scale[1]) for px, py in value["points"]], location
            )
        elif "radiusX" in value:
            x, y, rx, ry = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
            centre, radii = (x * scale[0], y * scale[1]), (rx * scale[0], ry * scale[1])
            image.add_ellipse(label, centre, radii, degrees, location)
        else:
            image.skip(str(result.get("type") or _label_key(value)), location)


def write_label_studio(data: WrittenDataset) -> None:
    """Write the tasks of each list and a labeling configuration; detections are predictions.

    Ignored objects are left out. Images are named as files of a local storage whose document root is the folder.
    """
    for subset in data.subsets:
        tasks = [_to_task(number, image, data.names) for number, image in enumerate(data.images(subset), start=1)]
        write_json(data.root / f"{subset}.json", tasks)
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": _IMAGE, "value": f"${_IMAGE}"})
    labels = ElementTree.SubElement(view, "RectangleLabels", {"name": _LABEL, "toName": _IMAGE})
    for name in data.names:
        ElementTree.SubElement(labels, "Label", {"value": one_line(name)})
    write_xml(data.root / _CONFIG, view)


def _to_task(number: int, image: WrittenImage, names: Sequence[str]) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for item in image.objects():
        if not item.is_ignored:
            sides = (image.width, image.height, image.width, image.height)
            edges = (item.left, item.top, item.width, item.height)
            box = [round(_PERCENT * edge / side, 4) for edge, side in zip(edges, sides, strict=True)]
            value = dict(zip(("x", "y", "width", "height"), box, strict=True))
            result = {
                "id": f"{number}-{len(results) + 1}",
                "type": "rectanglelabels",
                "from_name": _LABEL,
                "to_name": _IMAGE,
                "original_width": image.width,
                "original_height": image.height,
                "image_rotation": 0,
                "value": value | {"rotation": 0, "rectanglelabels": [one_line(names[item.cls])]},
            }
            results.append(result if item.confidence is None else result | {"score": item.confidence})
    task: dict[str, Any] = {"id": number, "data": {_IMAGE: _LOCAL_FILES + urllib.parse.quote(image.file)}}
    if image.confidences is None:
        return task | {"annotations": [{"result": results}]}
    scores = [result["score"] for result in results]
    mean = sum(scores) / len(scores) if scores else 0.0
    return task | {"predictions": [{"model_version": "darknet_py", "score": mean, "result": results}]}
