"""``Dataset``: images with their targets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from .label_cache import CachedLabels, LabelCache
from .label_finder import LabelFinder
from .labels import (
    DEFAULT_OPTIONS,
    LabelOptions,
    Problem,
    TargetArray,
    empty_targets,
    images_and_labels,
    is_class_only,
    missing_labels_problem,
    try_read_label_file,
    unknown_class_problem,
)

_NO_TARGETS = empty_targets()  # shared by images without objects


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its targets.

    Attributes:
        image: path of the image.
        targets: float32 [n, 5], (cx, cy, w, h) relative to the image, class.
        ignored: like ``targets``; objects that evaluation counts neither as true positives nor as missed.
        image_id: the image's number in the annotation file, if it has one.
    """

    image: str
    targets: TargetArray
    ignored: TargetArray
    image_id: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Images with their targets, in the order of the list.

    Attributes:
        samples: the images.
        names: names of the classes; empty if no file has them.
        problems: what is missing or invalid.
        source: the file or folder that the data set was read from.
        categories: number of each class in the annotation file (COCO's go up to 90).
        annotations: COCO's annotation file, if it has these objects and no others.
        read_from: files besides ``source`` that it was read from, other than images and label files: lists, names,
            annotations.
    """

    samples: Sequence[Sample]
    names: tuple[str, ...] = ()
    problems: Sequence[Problem] = ()
    source: str = ""
    categories: tuple[int, ...] = ()
    annotations: str = ""
    read_from: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def files(self) -> Iterator[str]:
        """Yield the paths that the data set was read from, and those where a label file may be."""
        yield self.source
        yield from self.read_from
        yield from images_and_labels(sample.image for sample in self.samples)

    def drop_unknown_classes(self, classes: int, *, class_only: int | None = None) -> Dataset:
        """Return the data set without targets of classes that there are not; each of these in an image is a problem.

        Args:
            classes: the number of classes.
            class_only: the number of classes of targets without a box; None: ``classes``.
        """
        columns = [rows[:, 4] for sample in self.samples for rows in (sample.targets, sample.ignored) if len(rows)]
        limits = (classes, classes if class_only is None else class_only)
        if not columns or np.concatenate(columns).max() < min(limits):
            return self
        problems = list(self.problems)
        samples = []
        for sample in self.samples:
            limit = np.where(is_class_only(sample.targets), limits[1], limits[0])
            unknown = sample.targets[:, 4] >= limit
            for cls, known in np.unique(np.stack((sample.targets[:, 4], limit), axis=1)[unknown], axis=0).tolist():
                problems.append(unknown_class_problem(sample.image, int(cls), int(known)))
            ignored = sample.ignored[sample.ignored[:, 4] < classes]
            samples.append(replace(sample, targets=sample.targets[~unknown], ignored=ignored))
        return replace(self, samples=samples, problems=problems)

    @property
    def has_class_only(self) -> bool:
        """Whether any target has a class and no box."""
        return any(is_class_only(sample.targets).any() for sample in self.samples if len(sample.targets))

    def map_classes(self, mapping: Mapping[int, int], names: Sequence[str]) -> Dataset:
        """Return the data set with other classes and these names, without targets of classes not in ``mapping``."""
        highest = [int(r[:, 4].max()) for s in self.samples for r in (s.targets, s.ignored) if len(r)]
        table = np.full(max([0, *highest, *mapping]) + 1, -1.0, np.float32)
        table[list(mapping)] = list(mapping.values())
        samples = []
        for sample in self.samples:
            mapped = []
            for rows in (sample.targets, sample.ignored):
                rows = rows.copy()
                rows[:, 4] = table[rows[:, 4].astype(np.int64)]
                mapped.append(rows[rows[:, 4] >= 0])
            samples.append(replace(sample, targets=mapped[0], ignored=mapped[1]))
        return replace(self, samples=samples, names=tuple(names), categories=(), annotations="")


def load_image_list(
    images: Sequence[str],
    difficult: Sequence[str] = (),
    *,
    options: LabelOptions = DEFAULT_OPTIONS,
    source: str = "",
) -> Dataset:
    """Load a data set from the label files of images.

    Args:
        images: paths of the images.
        difficult: paths parallel to ``images``; their label files have the objects to ignore in evaluation.
        options: how label files are read.
        source: the file or folder to name in messages.

    Raises:
        DataError: a label file cannot be read, or ``difficult`` has another length than ``images``.
    """
    if difficult and len(difficult) != len(images):
        raise DataError(f"{source}: {len(images)} images, but {len(difficult)} in the list of difficult objects")
    reader = _LabelReader((*images, *difficult), options)
    samples = []
    problems: list[Problem] = []
    for index, image in enumerate(reader.progress(images)):
        targets = reader.read(image, problems)
        ignored = reader.read(difficult[index], problems) if difficult else _NO_TARGETS
        samples.append(Sample(image, targets, ignored))
    reader.save()
    return Dataset(samples, (), tuple(dict.fromkeys(problems)), source)


class _LabelReader:
    """Reads the label files of images, or takes from the cache what has not changed."""

    def __init__(self, images: Sequence[str], options: LabelOptions) -> None:
        self._options = options
        self._finder = LabelFinder()
        self._cache = LabelCache(images, options)
        self._entries: dict[str, CachedLabels] = {}
        self._is_changed = False

    def progress(self, images: Sequence[str]) -> Iterable[str]:
        """Iterate over images with a progress bar on stderr, in a file a line every five seconds."""
        from tqdm import tqdm

        interval = 0.1 if sys.stderr.isatty() else 5
        bar: Iterable[str] = tqdm(
            images, "labels", unit="image", delay=2, mininterval=interval, disable=not self._options.progress
        )
        return bar

    def read(self, image: str, problems: list[Problem]) -> TargetArray:
        """Return the targets of an image, float32 [n, 5], and add its problems."""
        found = self._finder.find(image)
        if found is None:
            problems.append(missing_labels_problem(image))
            return _NO_TARGETS
        path, state = found
        entry = self._cache.find(path, state)
        if entry is None:
            own: list[Problem] = []
            targets = try_read_label_file(path, own.append, self._options)
            entry = CachedLabels(path, state.st_size, state.st_mtime_ns, targets, tuple(own))
            self._is_changed = True
        self._entries[path] = entry
        problems.extend(entry.problems)
        return entry.targets

    def save(self) -> None:
        """Write what was read into the cache, if it is not there."""
        if self._is_changed:
            self._cache.save(list(self._entries.values()))
