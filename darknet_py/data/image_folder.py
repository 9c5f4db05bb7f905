"""Folders of images with label files: of labelImg, of Label Studio's and of Roboflow's exports for YOLO and Darknet.

The label files are beside the images, or in ``labels`` beside ``images``. A file of class names beside either is read.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

from ..errors import DataError, list_first
from ..images.sources import expand_sources, is_image_name
from . import data_file
from .dataset import Dataset, load_image_list
from .labels import LabelOptions

_NAMES = ("classes.txt", "_darknet.labels", "obj.names", "_classes.txt")  # of labelImg and Label Studio; of Roboflow
_DESCRIPTIONS = (".data", ".yaml", ".yml", ".json", ".xml")
_LISTED = 5  # files in a message


def load_image_folder(folder: pathlib.Path, options: LabelOptions) -> Dataset:
    """Load the images of a folder, or of ``images`` in it, with their label files.

    Raises:
        DataError: there are no images, or a file cannot be read.
    """
    places = [place for place in (folder, folder / "images") if os.path.isdir(place)]
    with_images = next((place for place in places if any(map(is_image_name, place.iterdir()))), folder)
    described = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in _DESCRIPTIONS)
    if with_images is folder and described and not any(map(is_image_name, folder.iterdir())):
        raise DataError(f"{folder}: no images: name the file that is meant, of {list_first(described, _LISTED)}")
    images = expand_sources([str(with_images)])
    beside = dict.fromkeys((with_images, folder))
    names = next((file for place in beside for name in _NAMES if os.path.isfile(file := place / name)), None)
    dataset = load_image_list(images, options=options, source=str(folder))
    return dataset if names is None else replace(dataset, names=tuple(data_file.read_names(names)))
