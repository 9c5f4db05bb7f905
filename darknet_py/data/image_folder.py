"""Folders of images with label files: of labelImg, of Label Studio's and of Roboflow's exports for YOLO and Darknet.

The label files are beside the images, or in ``labels`` beside ``images``. A file of class names beside either is read.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable
from dataclasses import replace

from ..errors import DataError, list_first
from ..images.sources import expand_sources, is_image_name
from . import data_file
from .dataset import Dataset, load_image_list
from .label_finder import LabelFinder
from .labels import LabelOptions, Problem

_NAMES = ("classes.txt", "_darknet.labels", "obj.names", "_classes.txt")  # of labelImg and Label Studio; of Roboflow
_DESCRIPTIONS = (".data", ".yaml", ".yml", ".json", ".xml")
_LISTED = 5  # files in a message
_ANNOTATIONS = re.compile(
    rb'"(?:images|categories|annotations|annotation_id)"\s*:'
)  # keys of COCO's and Label Studio's
_HEAD = 1 << 20  # bytes of a file in which one of these keys is looked for


def load_image_folder(folder: pathlib.Path, options: LabelOptions) -> Dataset:
    """Load the images of a folder, or of ``images`` in it, with their label files.

    Raises:
        DataError: there are no images, or a file cannot be read.
    """
    with_images = _image_place(folder)
    described = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in _DESCRIPTIONS)
    if with_images is folder and described and not any(map(is_image_name, folder.iterdir())):
        raise DataError(f"{folder}: no images: name the file that is meant, of {list_first(described, _LISTED)}")
    images = expand_sources([str(with_images)])
    beside = dict.fromkeys((with_images, folder))
    names = next((file for place in beside for name in _NAMES if os.path.isfile(file := place / name)), None)
    dataset = load_image_list(images, options=options, source=str(folder))
    if not _has_labels(images) and (files := _annotations(folder)):
        message = f"no label files beside the images: is one of {list_first(files, _LISTED)} meant? Then name it"
        dataset = replace(dataset, problems=[*dataset.problems, Problem(str(folder), message)])
    return dataset if names is None else replace(dataset, names=tuple(data_file.read_names(names)))


def find_only_annotations(folder: pathlib.Path) -> pathlib.Path | None:
    """Return the JSON file of COCO's or Label Studio's kind in a folder, whatever its name, as tools export it.

    It is searched in ``annotations`` too. None if there are several, or if the images have label files.
    """
    if not os.path.isdir(folder):
        return None
    images = (str(path) for path in _image_place(folder).iterdir() if is_image_name(path))
    if _has_labels(images):
        return None
    files = _annotations(folder)
    return folder / files[0] if len(files) == 1 else None


def _annotations(folder: pathlib.Path) -> list[str]:
    """The JSON files in a folder that may be annotations, relative to it."""
    files = (file for inner in (".", "annotations") for file in sorted((folder / inner).glob("*.json")))
    return [str(file.relative_to(folder)) for file in files if _is_annotations(file)]


def _is_annotations(path: pathlib.Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _ANNOTATIONS.search(file.read(_HEAD)) is not None
    except OSError:
        return False


def _image_place(folder: pathlib.Path) -> pathlib.Path:
    """The folder itself, or ``images`` in it if only that has images."""
    places = [place for place in (folder, folder / "images") if os.path.isdir(place)]
    return next((place for place in places if any(map(is_image_name, place.iterdir()))), folder)


def _has_labels(images: Iterable[str]) -> bool:
    finder = LabelFinder()
    return any(finder.find(image) for image in images)
