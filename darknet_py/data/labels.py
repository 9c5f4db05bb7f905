"""The label file of an image: where it lies, and what it holds.

A line ``class x y w h`` is an object: an integer, then centre and size relative to the image (0..1).
Darknet looks for the file by replacing words in the image's path (``label_path``), takes an image
without one for an image without objects, and stops silently where a line does not scan. This reads the
same objects and says so: every missing or odd label is one ``Problem`` with file and line.
"""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DataError

TargetArray = npt.NDArray[np.float32]  # [n, 5]: x y w h relative to the image, class

SHOWN = 20  # problems that ``report`` writes one by one


_FOLDERS = tuple(
    (name.replace("/", slash), label.replace("/", slash))
    for name, label in (
        ("/images/train2017/", "/labels/train2017/"),
        ("/images/val2017/", "/labels/val2017/"),
        ("/JPEGImages/", "/labels/"),
        ("/images/train2014/", "/labels/train2014/"),
        ("/images/val2014/", "/labels/val2014/"),
    )
    for slash in "/\\"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """Something in a data set that is missing or odd: where it is (``file`` or ``file:line``), and what."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def label_path(image: str) -> str:
    """Where Darknet looks for the labels of an image (``replace_image_to_label``)."""
    path = image
    for folder, labels in _FOLDERS:
        path = path.replace(folder, labels, 1)
    stem, suffix = os.path.splitext(path.strip(" \t"))
    return f"{stem}.txt" if suffix else f"{path}.txt"


def label_places(image: str) -> list[str]:
    """Where labels of an image may lie: Darknet's place, ``labels/`` for the last ``images/``, beside it."""
    stem = os.path.splitext(image)[0]
    parts = stem.replace("\\", "/").split("/")
    places = [label_path(image)]
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[-2::-1].index("images")
        places.append("/".join((*parts[:at], "labels", *parts[at + 1 :])) + ".txt")
    return list(dict.fromkeys((*places, f"{stem}.txt")))


def read_labels(path: StrPath, problem: Callable[[Problem], None], classes: int | None = None) -> TargetArray:
    """The objects of a label file; what is odd goes to ``problem``. Raises DataError where it cannot be read.

    As in Darknet (``read_boxes``), nothing is read behind a line that does not scan, and positions out of
    range are kept. A class below 0 or beyond ``classes`` and what is no number are left out.
    """
    rows: list[tuple[float, ...]] = []
    seen: dict[tuple[float, ...], int] = {}
    for number, line in enumerate(lines(path), start=1):
        words = line.split()
        if not words:
            continue
        place = f"{os.fspath(path)}:{number}"
        row = _scan(words)
        if row is not None:
            for text in _oddities(row):
                problem(Problem(place, text))
            unknown = classes is not None and row[4] >= classes
            if classes is not None and unknown:
                problem(Problem(place, beyond(int(row[4]), classes)))
            if row in seen:
                problem(Problem(place, f"the same object as in line {seen[row]}"))
            seen.setdefault(row, number)
            if row[4] >= 0 and not unknown and np.isfinite(row).all():
                rows.append(row)
        if row is None or len(words) > 5:
            found = f"expected `class x y w h`, found {line.strip()!r}"
            problem(Problem(place, f"{found}; like Darknet, nothing behind it is read"))
            break
    return np.array(rows, np.float32).reshape(-1, 5)


def _scan(words: Sequence[str]) -> tuple[float, ...] | None:
    try:
        x, y, w, h = map(float, words[1:5])
        return x, y, w, h, float(int(words[0]))
    except ValueError:
        return None


def _oddities(row: Sequence[float]) -> Iterator[str]:
    x, y, w, h, number = row
    if number < 0:
        yield f"class {number:.0f}, expected 0 or more; left out"
    if not np.isfinite(row).all():
        yield "a coordinate that is no number; left out"
    elif not (0 < x <= 1 and 0 < y <= 1):
        yield f"centre {x:g} {y:g}, expected 0..1 of the image"
    elif not (0 < w <= 1 and 0 < h <= 1):
        yield f"size {w:g} {h:g}, expected 0..1 of the image"


def beyond(number: int, classes: int) -> str:
    """What is wrong with a class that a network does not have."""
    return f"class {number}, but the network has {classes} classes (0..{classes - 1}); left out"


def labels_of(image: str, problem: Callable[[Problem], None], classes: int | None = None) -> TargetArray:
    """The objects of an image; a missing label file goes to ``problem`` with the paths that were tried."""
    places = label_places(image)
    for place in places:
        if os.path.isfile(place):
            return read_labels(place, problem, classes)
    problem(Problem(image, f"no label file, taken for an image without objects; tried {', '.join(places)}"))
    return none()


def none() -> TargetArray:
    """No objects."""
    return np.zeros((0, 5), np.float32)


def lines(path: StrPath) -> list[str]:
    """The lines of a text file. Raises DataError."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(f"{os.fspath(path)}: {error.strerror or error}") from error


def report(problems: Iterable[Problem]) -> None:
    """Log the first problems one by one and the rest as a number."""
    found = list(problems)
    for problem in found[:SHOWN]:
        _log.warning("%s", problem)
    if len(found) > SHOWN:
        _log.warning("... and %d more of the kind", len(found) - SHOWN)
