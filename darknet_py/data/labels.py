"""Find and read the label file of an image.

A line ``class x y w h`` is an object: its class, and its box relative to the image (0..1). Darknet derives the path
of the label file from that of the image (``label_path``), treats an image without a label file as one without
objects, and silently stops at a line that it cannot parse. The same objects are read here, except from lines with
more numbers, and every missing or invalid label is reported as a ``Problem`` with file and line.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DataError
from ..messages import describe_text, escape_controls, get_logger
from ..text_files import read_lines

TargetArray = npt.NDArray[np.float32]  # [n, 5]: (cx, cy, w, h) relative to the image, class

MAX_LOGGED = 20  # problems that ``summarise`` yields one by one
UNKNOWN_CLASS = "targets have a class that the network does not have"  # kind of ``unknown_class_problem``
_CLASS_ONLY = "labels have a class and no box: only a class tree in pjreddie's dialect is trained on them"
SUFFIXES = (".txt", ".TXT")
BLANKS = " \t"
_COLUMNS = 5
_MIN_POLYGON = 7  # numbers of a class and three points

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
_log = get_logger(__name__)


@dataclass(frozen=True)
class Problem:
    """Something missing or invalid in a data set.

    Attributes:
        location: ``file`` or ``file:line``.
        message: what is wrong, and what is done about it.
        kind: what problems of this kind have in common, as the end of a sentence that begins with their number; empty
            for a problem that is logged by itself.
    """

    location: str
    message: str
    kind: str = field(default="", compare=False)

    def __str__(self) -> str:
        return escape_controls(f"{self.location}: {self.message}")


@dataclass(frozen=True)
class LabelOptions:
    """How label files are read.

    Attributes:
        classes: number of classes; targets of others are dropped and reported. None: any class is accepted.
        polygons: take the bounding box of ``class x1 y1 x2 y2 x3 y3 ...``; otherwise such a line is ignored.
        progress: show a progress bar on stderr if reading takes longer than two seconds.
    """

    classes: int | None = None
    polygons: bool = False
    progress: bool = True


DEFAULT_OPTIONS = LabelOptions()


def label_path(image: str) -> str:
    """Return the path of an image's label file, as Darknet derives it (``replace_image_to_label``)."""
    path = image
    for images, labels in _FOLDER_PAIRS:
        if images in path:
            path = path.replace(images, labels, 1)
    stem, suffix = os.path.splitext(path.strip(BLANKS))
    return f"{stem}.txt" if suffix else f"{path}.txt"


def candidate_label_paths(image: str) -> list[str]:
    """Return the paths to try for a label file: Darknet's, ``labels/`` for the last ``images/``, beside the image.

    All are tried with ``.TXT`` after that, as file systems of Windows do not tell them apart.
    """
    paths = list(dict.fromkeys(_label_paths(image)))
    return [path.removesuffix(SUFFIXES[0]) + suffix for suffix in SUFFIXES for path in paths]


def _label_paths(image: str) -> Iterator[str]:
    yield label_path(image)
    stem = os.path.splitext(image)[0]
    parts = stem.replace("\\", "/").split("/")
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        yield "/".join((*parts[:last], "labels", *parts[last + 1 :])) + ".txt"
    yield f"{stem}.txt"


def images_and_labels(images: Iterable[str]) -> Iterator[str]:
    """Yield each image and the paths where its label file may be."""
    for image in images:
        yield image
        yield from candidate_label_paths(image)


def read_label_file(
    path: StrPath, on_problem: Callable[[Problem], None], options: LabelOptions = DEFAULT_OPTIONS
) -> TargetArray:
    """Read a label file.

    As in Darknet (``read_boxes``), the lines after one that cannot be parsed are ignored, and coordinates out of
    range are kept. Unlike there, a line with more numbers than ``class x y w h`` is ignored, or with
    ``options.polygons`` a polygon, and the lines after it are read. Objects with a class below 0 or of at least
    ``options.classes``, or with NaN or Inf, are dropped.

    Args:
        path: the label file.
        on_problem: called with each problem.
        options: how to read it.

    Returns:
        float32 [n, 5], (cx, cy, w, h) relative to the image, class.

    Raises:
        DataError: the file cannot be read.
    """
    rows: list[tuple[float, ...]] = []
    first_line: dict[tuple[float, ...], int] = {}
    classes = options.classes
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        location = f"{os.fspath(path)}:{number}"
        numbers = _parse(words)
        if numbers is None or len(numbers) < _COLUMNS:
            message = f"expected `class x y w h`, found {describe_text(line)}"
            on_problem(Problem(location, f"{message}; the rest of the file is ignored"))
            break
        is_polygon = options.polygons and len(numbers) >= _MIN_POLYGON and len(numbers) % 2 == 1
        if len(numbers) > _COLUMNS and not is_polygon:
            message = f"expected 4 numbers after the class, found {len(numbers) - 1}: ignored"
            if len(numbers) >= _MIN_POLYGON and len(numbers) % 2 == 1:
                message += "; a polygon gives its bounding box with --polygons"
            on_problem(Problem(location, message, "lines have more than 4 numbers after the class and are ignored"))
            continue
        row = _bounding_box(numbers) if is_polygon else (*numbers[1:], numbers[0])
        for problem in check_target(row, location, classes):
            on_problem(problem)
        if row in first_line:
            on_problem(Problem(location, f"duplicate of line {first_line[row]}", "labels are duplicates"))
        first_line.setdefault(row, number)
        if 0 <= row[4] < (math.inf if classes is None else classes) and all(map(math.isfinite, row)):
            rows.append(row)
        if len(words) > len(numbers):
            message = f"expected the end of the line, found {describe_text(words[len(numbers)])}"
            on_problem(Problem(location, f"{message}; the rest of the file is ignored"))
            break
    return np.array(rows, np.float32).reshape(-1, _COLUMNS)


def format_labels(targets: TargetArray) -> list[str]:
    """Return the lines of a label file for targets, float32 [n, 5]."""
    return [f"{int(row[4])} " + " ".join(f"{value:.6f}" for value in row[:4]) for row in targets]


def _parse(words: Sequence[str]) -> tuple[float, ...] | None:
    """Return the class and the numbers after it, up to a word that is not a number; None if there is no class."""
    numbers: list[float] = []
    try:
        numbers.append(float(int(words[0])))
        for word in words[1:]:
            numbers.append(float(word))
    except (ValueError, OverflowError):
        pass
    return tuple(numbers) or None


def _bounding_box(numbers: Sequence[float]) -> tuple[float, ...]:
    """The target of a class and the points of a polygon."""
    xs, ys = numbers[1::2], numbers[2::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, numbers[0]


def check_target(row: Sequence[float], location: str, classes: int | None = None) -> Iterator[Problem]:
    """Yield what is wrong with a target, (cx, cy, w, h) relative to the image and class; ``classes``: their number."""
    x, y, w, h, cls = row
    if cls < 0:
        yield Problem(location, f"class {cls:.0f}, expected 0 or more; ignored")
    if not all(map(math.isfinite, row)):
        yield Problem(location, "a coordinate is NaN or Inf; ignored")
    elif not any((x, y, w, h)):
        yield Problem(location, "a class without a box", _CLASS_ONLY)
    elif not (0 < x <= 1 and 0 < y <= 1):
        yield Problem(location, f"centre {x:g} {y:g}, expected 0..1 of the image")
    elif not (0 < w <= 1 and 0 < h <= 1):
        yield Problem(location, f"size {w:g} {h:g}, expected 0..1 of the image")
    if classes is not None and cls >= classes:
        yield unknown_class_problem(location, int(cls), classes)


def unknown_class_problem(location: str, cls: int, classes: int) -> Problem:
    """Return the problem of a target with a class that the network does not have."""
    message = f"class {cls}, but the network has {classes} classes (0..{classes - 1}); ignored"
    return Problem(location, message, UNKNOWN_CLASS)


def missing_labels_problem(image: str) -> Problem:
    """Return the problem of an image without a label file."""
    tried = ", ".join(candidate_label_paths(image))
    message = f"no label file: treated as an image without objects; tried {tried}"
    annotation = f"{os.path.splitext(image)[0]}.xml"
    if os.path.isfile(annotation):
        message += f"; {annotation} is read if the folder is given instead of a list"
    return Problem(image, message, "images have no label file and are treated as images without objects")


def try_read_label_file(path: str, on_problem: Callable[[Problem], None], options: LabelOptions) -> TargetArray:
    """Read a label file; one that cannot be read is a problem and has no objects."""
    try:
        return read_label_file(path, on_problem, options)
    except DataError as error:
        message = str(error).removeprefix(f"{path}: ")
        on_problem(Problem(path, f"{message}; treated as an image without objects"))
        return empty_targets()


def is_class_only(targets: TargetArray) -> npt.NDArray[np.bool_]:
    """Return which targets [n, 5 or more] have a class and no box, as ``3 0 0 0 0``: bool [n]."""
    is_zero: npt.NDArray[np.bool_] = (targets[:, :2] == 0).all(axis=1)  # what ``correct_boxes`` tests
    return is_zero


def empty_targets() -> TargetArray:
    """Return the targets of an image without objects: float32 [0, 5]."""
    return np.zeros((0, 5), np.float32)


def log_problems(problems: Iterable[Problem]) -> None:
    """Log the lines of ``summarise``."""
    for line in summarise(problems):
        _log.warning("%s", line)


def summarise(problems: Iterable[Problem]) -> Iterator[str]:
    """Yield the first problem of each kind and their number; of others the first ones and the number of the rest."""
    listed = list(problems)
    kinds = Counter(problem.kind for problem in listed if problem.kind)
    single = [problem for problem in listed if kinds[problem.kind] <= 1]
    for problem in single[:MAX_LOGGED]:
        yield str(problem)
    if len(single) > MAX_LOGGED:
        yield f"... and {len(single) - MAX_LOGGED} more problems"
    for kind, count in kinds.items():
        if count > 1:
            first = next(problem for problem in listed if problem.kind == kind)
            yield f"{count} {kind}; the first: {first}"
