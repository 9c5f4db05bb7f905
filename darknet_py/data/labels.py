"""Find and read the label file of an image.

A line ``class x y w h`` is an object: its class, and its box relative to the image (0..1). Darknet derives the path
of the label file from that of the image (``label_path``), treats an image without a label file as one without
objects, and silently stops at a line that it cannot parse. The same objects are read here, and every missing or
invalid label is reported as a ``Problem`` with file and line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DataError
from ..text_files import read_lines

TargetArray = npt.NDArray[np.float32]  # [n, 5]: (cx, cy, w, h) relative to the image, class

MAX_LOGGED = 20  # problems that ``log_problems`` logs one by one

_FOLDER_PAIRS = tuple(
    (images.replace("/", separator), labels.replace("/", separator))
    for images, labels in (
        ("/images/train2017/", "/labels/train2017/"),
        ("/images/val2017/", "/labels/val2017/"),
        ("/JPEGImages/", "/labels/"),
        ("/images/train2014/", "/labels/train2014/"),
        ("/images/val2014/", "/labels/val2014/"),
    )
    for separator in "/\\"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """Something missing or invalid in a data set.

    Attributes:
        location: ``file`` or ``file:line``.
        message: what is wrong, and what is done about it.
    """

    location: str
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


def label_path(image: str) -> str:
    """Return the path of an image's label file, as Darknet derives it (``replace_image_to_label``)."""
    path = image
    for images, labels in _FOLDER_PAIRS:
        path = path.replace(images, labels, 1)
    stem, suffix = os.path.splitext(path.strip(" \t"))
    return f"{stem}.txt" if suffix else f"{path}.txt"


def candidate_label_paths(image: str) -> list[str]:
    """Return the paths to try for a label file: Darknet's, ``labels/`` for the last ``images/``, beside the image."""
    stem = os.path.splitext(image)[0]
    parts = stem.replace("\\", "/").split("/")
    candidates = [label_path(image)]
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        candidates.append("/".join((*parts[:last], "labels", *parts[last + 1 :])) + ".txt")
    return list(dict.fromkeys((*candidates, f"{stem}.txt")))


def images_and_labels(images: Iterable[str]) -> Iterator[str]:
    """Yield each image and the paths where its label file may be."""
    for image in images:
        yield image
        yield from candidate_label_paths(image)


def read_label_file(path: StrPath, on_problem: Callable[[Problem], None], classes: int | None = None) -> TargetArray:
    """Read a label file.

    As in Darknet (``read_boxes``), the lines after one that cannot be parsed are ignored, and coordinates out of
    range are kept. Objects with a class below 0 or of at least ``classes``, or with NaN or Inf, are dropped.

    Args:
        path: the label file.
        on_problem: called with each problem.
        classes: number of classes; None: any class is accepted.

    Returns:
        float32 [n, 5], (cx, cy, w, h) relative to the image, class.

    Raises:
        DataError: the file cannot be read.
    """
    rows: list[tuple[float, ...]] = []
    first_line: dict[tuple[float, ...], int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        location = f"{os.fspath(path)}:{number}"
        row = _parse(words)
        if row is not None:
            for message in _check_values(row):
                on_problem(Problem(location, message))
            is_unknown = classes is not None and row[4] >= classes
            if classes is not None and is_unknown:
                on_problem(Problem(location, unknown_class_message(int(row[4]), classes)))
            if row in first_line:
                on_problem(Problem(location, f"duplicate of line {first_line[row]}"))
            first_line.setdefault(row, number)
            if row[4] >= 0 and not is_unknown and np.isfinite(row).all():
                rows.append(row)
        if row is None or len(words) > 5:
            message = f"expected `class x y w h`, found {line.strip()!r}"
            on_problem(Problem(location, f"{message}; the rest of the file is ignored, as in Darknet"))
            break
    return np.array(rows, np.float32).reshape(-1, 5)


def _parse(words: Sequence[str]) -> tuple[float, ...] | None:
    try:
        x, y, w, h = map(float, words[1:5])
        return x, y, w, h, float(int(words[0]))
    except ValueError:
        return None


def _check_values(row: Sequence[float]) -> Iterator[str]:
    x, y, w, h, cls = row
    if cls < 0:
        yield f"class {cls:.0f}, expected 0 or more; ignored"
    if not np.isfinite(row).all():
        yield "a coordinate is NaN or Inf; ignored"
    elif not (0 < x <= 1 and 0 < y <= 1):
        yield f"centre {x:g} {y:g}, expected 0..1 of the image"
    elif not (0 < w <= 1 and 0 < h <= 1):
        yield f"size {w:g} {h:g}, expected 0..1 of the image"


def unknown_class_message(cls: int, classes: int) -> str:
    """Return the message of a problem: a class that the network does not have."""
    return f"class {cls}, but the network has {classes} classes (0..{classes - 1}); ignored"


def read_image_labels(image: str, on_problem: Callable[[Problem], None], classes: int | None = None) -> TargetArray:
    """Find and read the label file of an image.

    Args:
        image: path of the image.
        on_problem: called with each problem; a missing label file is one.
        classes: number of classes; None: any class is accepted.

    Returns:
        float32 [n, 5], (cx, cy, w, h) relative to the image, class.
    """
    candidates = candidate_label_paths(image)
    for path in candidates:
        if os.path.isfile(path):
            try:
                return read_label_file(path, on_problem, classes)
            except DataError as error:
                message = str(error).removeprefix(f"{path}: ")
                on_problem(Problem(path, f"{message}; treated as an image without objects"))
                return empty_targets()
    message = f"no label file: treated as an image without objects; tried {', '.join(candidates)}"
    on_problem(Problem(image, message))
    return empty_targets()


def empty_targets() -> TargetArray:
    """Return the targets of an image without objects: float32 [0, 5]."""
    return np.zeros((0, 5), np.float32)


def log_problems(problems: Iterable[Problem]) -> None:
    """Log the first problems one by one, and the number of the rest."""
    listed = list(problems)
    for problem in listed[:MAX_LOGGED]:
        _log.warning("%s", problem)
    if len(listed) > MAX_LOGGED:
        _log.warning("... and %d more problems", len(listed) - MAX_LOGGED)
