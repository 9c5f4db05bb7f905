"""``Dataset``: images and their objects, and Darknet's files that name them: ``.data``, lists, class names.

Paths in these files count from the working folder, as in Darknet; where nothing lies there, from the
folder of the file. ``labels`` says where the objects of a image stand, ``datasets`` reads other formats.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._typing import StrPath
from ..errors import DataError
from .labels import Problem, TargetArray, beyond, labels_of, lines, none


@dataclass(frozen=True)
class Sample:
    """An image with its objects; ``ignored`` are targets that count neither for nor against a detector.

    ``identity``: the image's number in the file that the data set was read from, where it has one.
    """

    image: str
    targets: TargetArray
    ignored: TargetArray
    identity: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Images and objects, in the order of the list.

    ``names``: of the classes, none where nothing names them. ``categories``: by class, its number in the
    file that the data set was read from (COCO's go to 90). ``source``: that file.
    """

    samples: Sequence[Sample]
    names: tuple[str, ...] = ()
    problems: Sequence[Problem] = ()
    source: str = ""
    categories: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def limited(self, classes: int) -> Dataset:
        """The data set without objects that a network of so many classes cannot know; each is a problem."""
        problems, samples = list(self.problems), []
        for sample in self.samples:
            for number in sorted({int(k) for k in sample.targets[:, 4] if k >= classes}):
                problems.append(Problem(sample.image, beyond(number, classes)))
            targets, ignored = (rows[rows[:, 4] < classes] for rows in (sample.targets, sample.ignored))
            samples.append(replace(sample, targets=targets, ignored=ignored))
        return replace(self, samples=samples, problems=problems)


@dataclass(frozen=True)
class Options:
    """The entries of a ``.data`` file; the first of two equal keys counts."""

    path: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        """The value of a key. Raises DataError where the file has none."""
        if key not in self.values:
            raise DataError(f"{self.path}: expected a line `{key} = ...`, found {', '.join(self.values) or 'nothing'}")
        return self.values[key]

    def integer(self, key: str, default: int) -> int:
        """A value that is a number. Raises DataError for another."""
        text = self.values.get(key, str(default))
        try:
            return int(text)
        except ValueError:
            raise DataError(f"{self.path}: {key}: expected an integer, got {text!r}") from None

    def file(self, key: str) -> str:
        """A value that is a path: as it stands, else from the folder of the ``.data`` file."""
        return _beside(self[key], self.path)


def read_data(path: StrPath) -> Options:
    """Read a ``.data`` file: ``key = value`` lines; ``#`` and ``;`` start a comment line.

    Kinder than Darknet, which takes every blank out of a path. Raises DataError, also for a line without ``=``.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(lines(path), start=1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise DataError(f"{os.fspath(path)}:{number}: expected `key = value`, got {text!r}")
        values.setdefault(key.strip(), value.strip())
    return Options(os.fspath(path), values)


def read_list(path: StrPath) -> list[str]:
    """Paths of a list file, one a line: as they stand, or from the list's folder where only that exists."""
    return [_beside(line.strip(), path) for line in lines(path) if line.strip()]


def read_names(path: StrPath) -> tuple[str, ...]:
    """Class names, one a line; empty lines at the end are none."""
    text = "\n".join(lines(path)).rstrip()
    return tuple(line.strip() for line in text.split("\n")) if text else ()


def _beside(path: str, file: StrPath) -> str:
    """``path`` from the working folder, as Darknet has it, or from the folder of the file that names it."""
    if os.path.isabs(path) or os.path.exists(path):
        return path
    near = os.path.join(os.path.dirname(os.fspath(file)), path)
    return near if os.path.exists(near) else path


def from_list(
    images: Sequence[str], difficult: Sequence[str] = (), *, classes: int | None = None, source: str = ""
) -> Dataset:
    """Images with the objects of their label files.

    ``difficult``: a parallel list whose label files hold the objects that are ignored; DataError where it is
    of another length. ``classes``: objects of a class beyond are left out and reported.
    """
    if difficult and len(difficult) != len(images):
        raise DataError(f"{source}: {len(images)} images, but {len(difficult)} in the list of difficult objects")
    problems: list[Problem] = []
    samples = []
    for index, image in enumerate(images):
        targets = labels_of(image, problems.append, classes)
        ignored = labels_of(difficult[index], problems.append, classes) if difficult else none()
        samples.append(Sample(image, targets, ignored))
    return Dataset(samples, (), tuple(dict.fromkeys(problems)), source)


def load(path: StrPath, subset: str = "valid", *, classes: int | None = None) -> Dataset:
    """The images and objects of a ``.data`` file: of its list ``subset``, else of ``train``."""
    options = read_data(path)
    images = read_list(options.file(subset if subset in options.values else "train"))
    hard = read_list(options.file("difficult")) if subset == "valid" and "difficult" in options.values else ()
    names = read_names(options.file("names")) if "names" in options.values else ()
    return replace(from_list(images, hard, classes=classes, source=os.fspath(path)), names=names)
