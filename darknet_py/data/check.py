"""What is wrong with a data set, before an hour of training says it: ``check``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .._typing import StrPath
from ..errors import DataError
from ..images.reading import read_image
from . import datasets
from .anchors import counters
from .data_file import Dataset, read_data
from .labels import Problem

SUBSETS = ("train", "valid")


@dataclass(frozen=True)
class Checked:
    """A list of a data set: what it holds, and what is missing or odd, each thing once."""

    subset: str
    dataset: Dataset
    problems: tuple[Problem, ...]

    @property
    def summary(self) -> str:
        """Images, objects and classes in a line."""
        counts = counters(self.dataset, len(self.dataset.names))
        empty = sum(not len(sample.targets) for sample in self.dataset)
        return (
            f"{self.subset}: {len(self.dataset)} images, {empty} of them without objects, {sum(counts)} objects, "
            f"{sum(count > 0 for count in counts)} of {len(counts)} classes"
        )

    def classes(self) -> Iterator[str]:
        """Objects of each class, a line each."""
        names = self.dataset.names
        for number, count in enumerate(counters(self.dataset, len(names))):
            yield f"{number:5} {names[number] if number < len(names) else '':20} {count:8}"


def check(
    path: StrPath,
    *,
    classes: int | None = None,
    decode: bool = True,
    watch: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> list[Checked]:
    """Check the lists of a data set in any format of ``datasets``.

    ``classes``: of the network; by default the number of names. ``decode``: read every image, else see
    that it is there. ``watch``: wraps the images' names, for a progress bar. Raises DataError where a
    list cannot be read at all.
    """
    done: dict[tuple[str, ...], str] = {}
    checked = []
    for subset in _subsets(path):
        dataset = datasets.load(path, subset)
        names = tuple(sample.image for sample in dataset)
        if names in done:  # one list for both
            continue
        limit = classes if classes is not None else len(dataset.names) or None
        if limit is not None:
            dataset = dataset.limited(limit)
        problems = [*dataset.problems, *_twice(names, subset)]
        for earlier, other in done.items():
            problems += [Problem(name, f"in {other} and in {subset}") for name in sorted({*earlier} & {*names})]
        problems += _images(watch(dict.fromkeys(names)), decode)
        done[names] = subset
        checked.append(Checked(subset, dataset, tuple(dict.fromkeys(problems))))
    return checked


def _subsets(path: StrPath) -> tuple[str, ...]:
    """The lists to look at: of a .data file those that it names."""
    named = read_data(path).values if os.fspath(path).endswith(".data") else {}
    return tuple(subset for subset in SUBSETS if subset in named) or SUBSETS


def _twice(names: tuple[str, ...], subset: str) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(name, f"{count} times in {subset}")


def _images(names: Iterable[str], decode: bool) -> Iterator[Problem]:
    for name in names:
        try:
            if decode:
                read_image(name)
            else:
                with open(name, "rb"):
                    pass
        except DataError as error:
            place, _, text = str(error).partition(f"{name}: ")
            yield Problem(name, text or place)
        except OSError as error:
            yield Problem(name, error.strerror or str(error))
