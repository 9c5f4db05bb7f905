"""Check a data set before training: missing, broken, invalid and duplicate images and labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .._typing import StrPath
from ..errors import DataError
from ..images.reading import read_image
from .anchors import count_classes
from .data_file import read_data_file
from .dataset import Dataset
from .formats import load_dataset
from .labels import Problem

SUBSETS = ("train", "valid")


@dataclass(frozen=True)
class SubsetReport:
    """One list of a data set, with its problems without repetition."""

    subset: str
    dataset: Dataset
    problems: tuple[Problem, ...]

    @property
    def summary(self) -> str:
        """Numbers of images, objects and classes in a line."""
        counts = count_classes(self.dataset, len(self.dataset.names))
        empty = sum(not len(sample.targets) for sample in self.dataset)
        return (
            f"{self.subset}: {len(self.dataset)} images, {empty} of them without objects, {sum(counts)} objects, "
            f"{sum(count > 0 for count in counts)} of {len(counts)} classes"
        )

    def class_lines(self) -> Iterator[str]:
        """Yield number, name and objects of each class, a line each."""
        names = self.dataset.names
        for number, count in enumerate(count_classes(self.dataset, len(names))):
            yield f"{number:5} {names[number] if number < len(names) else '':20} {count:8}"


def check_dataset(
    path: StrPath,
    *,
    classes: int | None = None,
    decode: bool = True,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> list[SubsetReport]:
    """Check the lists of a data set in any format of ``load_dataset``.

    Args:
        path: the data set.
        classes: number of the network's classes; by default the number of names.
        decode: decode every image, instead of opening the file only.
        progress: wraps the paths of the images, for a progress bar.

    Returns:
        A report for each list; a list that is used for both is reported once.

    Raises:
        DataError: a list cannot be read.
    """
    checked: dict[tuple[str, ...], str] = {}
    reports = []
    for subset in _subsets(path):
        dataset = load_dataset(path, subset)
        images = tuple(sample.image for sample in dataset)
        if images in checked:  # one list for both
            continue
        limit = classes if classes is not None else len(dataset.names) or None
        if limit is not None:
            dataset = dataset.drop_unknown_classes(limit)
        problems = [*dataset.problems, *_find_duplicates(images, subset)]
        for earlier, other in checked.items():
            problems += [Problem(image, f"in {other} and in {subset}") for image in sorted({*earlier} & {*images})]
        problems += _check_images(progress(dict.fromkeys(images)), decode)
        checked[images] = subset
        reports.append(SubsetReport(subset, dataset, tuple(dict.fromkeys(problems))))
    return reports


def _subsets(path: StrPath) -> tuple[str, ...]:
    """The lists to check: of a .data file those that it has."""
    entries = read_data_file(path).values if os.fspath(path).endswith(".data") else {}
    return tuple(subset for subset in SUBSETS if subset in entries) or SUBSETS


def _find_duplicates(images: tuple[str, ...], subset: str) -> Iterator[Problem]:
    for image, count in Counter(images).items():
        if count > 1:
            yield Problem(image, f"{count} times in {subset}")


def _check_images(images: Iterable[str], decode: bool) -> Iterator[Problem]:
    for image in images:
        try:
            if decode:
                read_image(image)
            else:
                with open(image, "rb"):
                    pass
        except DataError as error:
            whole, _, message = str(error).partition(f"{image}: ")
            yield Problem(image, message or whole)
        except OSError as error:
            yield Problem(image, error.strerror or str(error))
