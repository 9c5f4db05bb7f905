"""The lists of a data set (train, valid, test), and their images as a writer of a format gets them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy.typing as npt

from .._typing import StrPath
from ..files import atomic_write
from .dataset import Dataset, Sample

SUBSETS = ("train", "valid", "test")
DECIMALS = 3  # of pixels in a file


def spellings(subset: str) -> tuple[str, ...]:
    """Return the names that folders and keys of a subset may have."""
    return tuple(dict.fromkeys((subset, "val", "valid"))) if subset in ("val", "valid") else (subset,)


class WrittenObject(NamedTuple):
    """An object of an image.

    Attributes:
        cls: class.
        left: left edge in pixels.
        top: upper edge in pixels.
        width: width in pixels.
        height: height in pixels.
        is_ignored: whether evaluation ignores it.
        confidence: its score, if it is a detection.
    """

    cls: int
    left: float
    top: float
    width: float
    height: float
    is_ignored: bool
    confidence: float | None

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) in pixels."""
        return self.left, self.top, self.left + self.width, self.top + self.height


class WrittenImage(NamedTuple):
    """An image of a data set that is written.

    Attributes:
        file: its path relative to the folder of the data set, with ``/``.
        width: width in pixels.
        height: height in pixels.
        sample: the image that it was made from, and its objects.
        confidences: scores of ``sample.targets`` if these are detections, float [n]; else None.
    """

    file: str
    width: int
    height: int
    sample: Sample
    confidences: npt.NDArray[Any] | None = None

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return pathlib.PurePosixPath(self.file).stem

    def objects(self) -> Iterator[WrittenObject]:
        """Yield the targets, then the ignored objects."""
        scores = [None] * len(self.sample.targets) if self.confidences is None else self.confidences.tolist()
        for rows, is_ignored in ((self.sample.targets, False), (self.sample.ignored, True)):
            for number, (x, y, w, h, cls) in enumerate(rows.astype(float).tolist()):
                box = ((x - w / 2) * self.width, (y - h / 2) * self.height, w * self.width, h * self.height)
                yield WrittenObject(int(cls), *box, is_ignored, None if is_ignored else scores[number])


@dataclass(frozen=True)
class WrittenDataset:
    """A data set that is written.

    Attributes:
        root: its folder, which has the images already.
        subsets: the images of each list; one that is listed twice is there twice.
        names: names of the classes.
        categories: number of each class in COCO's annotations.
        stem: of files that may have any name.
    """

    root: pathlib.Path
    subsets: Mapping[str, Sequence[WrittenImage]]
    names: Sequence[str]
    categories: Sequence[int]
    stem: str

    def images(self, subset: str | None = None) -> Iterator[WrittenImage]:
        """Yield each image of a list, or of all, once."""
        lists = self.subsets.values() if subset is None else [self.subsets[subset]]
        yield from {image.file: image for images in lists for image in images}.values()


def one_line(name: str) -> str:
    """Return a class name as a line of a file: without line ends, and not empty."""
    return " ".join(name.split()) or "_"


def write_lines(path: StrPath, lines: Iterable[str]) -> None:
    """Write a text file in UTF-8. Raises DataError."""
    with atomic_write(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_json(path: StrPath, content: object) -> None:
    """Write a JSON file in UTF-8. Raises DataError."""
    write_lines(path, [json.dumps(content, ensure_ascii=False, indent=1)])


def merge_datasets(parts: Sequence[Dataset], source: str) -> Dataset:
    """Join data sets; where their classes differ, the classes with objects are numbered again, sorted by name."""
    if len(parts) == 1:
        return parts[0]
    parts = unify_classes(parts)
    samples = [sample for part in parts for sample in part.samples]
    problems = [problem for part in parts for problem in part.problems]
    read_from = [path for part in parts for path in part.read_from]
    return replace(parts[0], samples=samples, problems=problems, source=source, annotations="", read_from=read_from)


def unify_classes(parts: Sequence[Dataset]) -> list[Dataset]:
    """Return data sets with the same classes: where they differ, those with objects, sorted by name.

    Classes without a name get their number as a name.
    """
    counts = [_count_classes(part) for part in parts]
    if len({part.names for part in parts}) <= 1:
        return [_complete_names(part, max(counts)) for part in parts]
    named = [_complete_names(part, count) for part, count in zip(parts, counts, strict=True)]
    names = sorted(set().union(*map(_used_names, named)))
    numbers = {name: number for number, name in enumerate(names)}
    return [
        part.map_classes({n: numbers[name] for n, name in enumerate(part.names) if name in numbers}, names)
        for part in named
    ]


def _count_classes(dataset: Dataset) -> int:
    rows = [rows for sample in dataset for rows in (sample.targets, sample.ignored) if len(rows)]
    return int(max((r[:, 4].max() for r in rows), default=-1)) + 1


def _complete_names(dataset: Dataset, count: int) -> Dataset:
    missing = map(str, range(len(dataset.names), count))
    return replace(dataset, names=(*dataset.names, *missing))


def _used_names(dataset: Dataset) -> set[str]:
    """The names of the classes that have objects, ignored ones as well."""
    return {dataset.names[int(cls)] for s in dataset for rows in (s.targets, s.ignored) for cls in rows[:, 4]}
