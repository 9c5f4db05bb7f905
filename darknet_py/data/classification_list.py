"""Images with a class and no box, on which a detector with a class tree is trained beside its objects.

The joint training of YOLO9000 (https://arxiv.org/abs/1612.08242, section 4). ``.data`` files name the list by keys that
Darknet ignores:

    train = coco.txt                  # images with label files
    classification = imagenet.txt     # images in whose path a class of the tree occurs: imagenet/n02085620/1.jpg
    classification_ratio = 4          # of these for each image of train=; 4 is the default, and the paper's
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._typing import StrPath
from ..errors import DataError
from ..messages import describe_text
from ..text_files import read_list
from .class_labels import match_labels
from .data_file import DataFile, read_data_file

KEY, RATIO_KEY = "classification", "classification_ratio"
_PAPERS_RATIO = 4.0
_SEARCHED = 100  # images at the beginning of a list, of which one must have a class


@dataclass(frozen=True)
class ClassificationList:
    """Images with a class and no box.

    Attributes:
        images: paths of the images; the class of each is the one that occurs in its path, as for a classifier.
        ratio: how many of these are drawn for each image with objects, on average.
    """

    images: Sequence[str]
    ratio: float = _PAPERS_RATIO


def read_classification_list(path: StrPath) -> ClassificationList | None:
    """Read the list that a .data file names by ``classification=``; None if it names none.

    Raises:
        DataError: a file cannot be read, the list is empty, or ``classification_ratio=`` is no number above 0.
    """
    entries = read_data_file(path)
    if KEY not in entries.values:
        return None
    images = read_list(entries.get_path(KEY))
    if not images:
        raise DataError(f"{entries.path}: {KEY}: expected images, found none")
    return ClassificationList(images, _read_ratio(entries))


def _read_ratio(entries: DataFile) -> float:
    text = entries.values.get(RATIO_KEY, str(_PAPERS_RATIO))
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 < ratio < math.inf:
        raise DataError(f"{entries.path}: {RATIO_KEY}: expected a number above 0, got {describe_text(text)}")
    return ratio


def class_of_image(image: str, labels: Sequence[str]) -> int:
    """Return the number of the one label that occurs in the path of an image. Raises DataError if it is not one."""
    match = match_labels(image, labels)
    if (problem := match.problem(image, labels)) is not None:
        raise DataError(str(problem))
    return match.classes[0]


def check_classes(images: Sequence[str], labels: Sequence[str]) -> None:
    """Raise DataError if no class occurs in the paths of the first images: the list belongs to another tree."""
    if not any(len(match_labels(image, labels).classes) == 1 for image in images[:_SEARCHED]):
        first, count = ", ".join(labels[:3]), min(len(images), _SEARCHED)
        raise DataError(
            f"{KEY}=: expected a class of the tree ({first}, ...) in the path of each image, found one in none "
            f"of the first {count}: {images[0]}"
        )
