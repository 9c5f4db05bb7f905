"""Check a data set before training: missing, broken, invalid and duplicate images and labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .._typing import StrPath
from ..errors import DataError
from ..images.inspection import read_orientation
from ..images.limits import MAX_PIXELS
from ..images.reading import read_image
from ..text_files import read_list
from . import classification_list
from .anchors import count_classes
from .class_labels import match_labels
from .data_file import DataFile, read_data_file, read_names
from .dataset import Dataset
from .formats import load_dataset
from .label_finder import LabelFinder
from .labels import Problem, candidate_label_paths

SUBSETS = ("train", "valid")


@dataclass(frozen=True)
class SubsetReport:
    """One list of a data set.

    Attributes:
        subset: name of the list.
        summary: numbers of images, objects and classes in a line.
        names: names of the classes.
        counts: for each class the number of its objects, or of a classifier's images.
        problems: what is wrong, without repetition.
        notes: what may be meant so.
        dataset: the images with their objects; None for a classifier.
    """

    subset: str
    summary: str
    names: Sequence[str]
    counts: Sequence[int]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    dataset: Dataset | None = None

    def class_lines(self) -> Iterator[str]:
        """Yield number, name and objects of each class, a line each."""
        for number, count in enumerate(self.counts):
            yield f"{number:5} {self.names[number] if number < len(self.names) else '':20} {count:8}"


Progress = Callable[[Iterable[str]], Iterable[str]]


def check_dataset(
    path: StrPath,
    *,
    classes: int | None = None,
    channels: int | None = None,
    polygons: bool = False,
    decode: bool = True,
    max_pixels: int = MAX_PIXELS,
    tree_names: Sequence[str] = (),
    progress: Progress = iter,
) -> list[SubsetReport]:
    """Check the lists of a data set in any format of ``load_dataset``, or of a classifier's .data file (``labels=``).

    Args:
        path: the data set.
        classes: number of the network's classes; by default the number of names.
        channels: channels of the network's input, which the images must have; by default any number.
        polygons: take the bounding boxes of polygons in label files.
        decode: decode every image, instead of opening the file only.
        max_pixels: refuse image files with more pixels.
        tree_names: names of the network's class tree, of which images of ``classification=`` have one in their path.
        progress: wraps the paths of the images, for a progress bar.

    Returns:
        A report for each list; a list that is used for both is reported once, with a note.

    Raises:
        DataError: a list cannot be read.
    """
    entries = read_data_file(path) if os.fspath(path).lower().endswith(".data") else None
    subsets = tuple(subset for subset in SUBSETS if entries and subset in entries.values) or SUBSETS
    is_mixed = entries is not None and classification_list.KEY in entries.values
    if is_mixed:
        subsets += (classification_list.KEY,)
    checked: dict[tuple[str, ...], str] = {}
    reports: list[SubsetReport] = []
    for subset in subsets:
        if entries and subset == classification_list.KEY:
            report, images = _check_labels(entries, subset, tree_names)
        elif entries and "labels" in entries.values and not is_mixed:
            report, images = _check_labels(entries, subset, read_names(entries.get_path("labels")))
        else:
            report, images = _check_objects(load_dataset(path, subset, polygons=polygons), subset, classes)
        if entries and not reports:
            report = replace(report, problems=(*report.problems, *_check_class_count(entries, report.names, classes)))
        if images in checked:  # one list for both
            if entries and subset in entries.values:
                reports[-1] = _as_both(reports[-1], images, subset, os.fspath(path))
            continue
        problems = list(report.problems)
        notes = list(report.notes)
        # Repeated lines are how a rare class is drawn more often; in an evaluation they count twice.
        (problems if subset == "valid" else notes).extend(_find_duplicates(images, subset))
        for earlier, other in checked.items():
            problems += [Problem(image, f"in {other} and in {subset}") for image in sorted({*earlier} & {*images})]
        if report.dataset is None or not report.dataset.categories:  # COCO's have no label files
            notes += _find_label_files(images)
        for image in progress(dict.fromkeys(images)):
            problems += _check_image(image, decode, channels, max_pixels)
            notes += _find_orientation(image)
        checked[images] = subset
        reports.append(_updated(report, problems, notes))
    return reports


def _check_class_count(entries: DataFile, names: Sequence[str], classes: int | None) -> Iterator[Problem]:
    """Yield what ``classes=`` of a .data file differs from: the number of names, and that of the network's classes."""
    if "classes" not in entries.values:
        return
    count = entries.get_int("classes", 0)
    if names and len(names) != count:
        yield Problem(entries.path, f"classes={count}, but there are {len(names)} class names")
    if classes not in (None, count, len(names)):
        yield Problem(entries.path, f"classes={count}, but the network has {classes} classes")


def _as_both(report: SubsetReport, images: tuple[str, ...], subset: str, path: str) -> SubsetReport:
    """The report of a list that is also used as ``subset``."""
    note = Problem(path, f"{report.subset} and {subset} are the same images")
    return _updated(report, [*report.problems, *_find_duplicates(images, subset)], [*report.notes, note])


def _updated(report: SubsetReport, problems: Sequence[Problem], notes: Sequence[Problem]) -> SubsetReport:
    return replace(report, problems=tuple(dict.fromkeys(problems)), notes=tuple(dict.fromkeys(notes)))


def _check_objects(dataset: Dataset, subset: str, classes: int | None) -> tuple[SubsetReport, tuple[str, ...]]:
    limit = classes if classes is not None else len(dataset.names) or None
    if limit is not None:
        dataset = dataset.drop_unknown_classes(limit)
    counts = count_classes(dataset, len(dataset.names))
    empty = sum(not len(sample.targets) for sample in dataset)
    summary = (
        f"{subset}: {len(dataset)} images, {empty} without objects, {sum(counts)} objects, "
        f"{sum(count > 0 for count in counts)} of {len(counts)} classes"
    )
    images = tuple(sample.image for sample in dataset)
    return SubsetReport(subset, summary, dataset.names, counts, tuple(dataset.problems), dataset=dataset), images


def _check_labels(entries: DataFile, subset: str, labels: Sequence[str]) -> tuple[SubsetReport, tuple[str, ...]]:
    """Check the labels in the paths of images; nothing is known of them without ``labels``."""
    images = tuple(read_list(entries.get_path(entries.list_key(subset))))
    if not labels:
        return SubsetReport(subset, f"{subset}: {len(images)} images", (), (), ()), images
    matches = [match_labels(image, labels) for image in images]
    counter = Counter(number for match in matches for number in match.classes)
    counts = [counter[number] for number in range(len(labels))]
    summary = f"{subset}: {len(images)} images, {sum(count > 0 for count in counts)} of {len(labels)} classes"
    pairs = list(zip(images, matches, strict=True))
    problems = [problem for image, match in pairs if (problem := match.problem(image, labels)) is not None]
    notes = [note for image, match in pairs if (note := match.note(image, labels)) is not None]
    return SubsetReport(subset, summary, labels, counts, tuple(problems), tuple(notes)), images


def _find_duplicates(images: tuple[str, ...], subset: str) -> Iterator[Problem]:
    for image, count in Counter(images).items():
        if count > 1:
            yield Problem(image, f"{count} times in {subset}", f"images are more than once in {subset}")


def _find_label_files(images: Iterable[str]) -> Iterator[Problem]:
    """Report label files that not every program would read, or of which another one is read."""
    finder = LabelFinder()
    image_of: dict[str, str] = {}
    for image in dict.fromkeys(images):
        if (found := finder.find(image)) is None:
            continue
        path, state = found
        if not path.endswith(".txt"):
            yield Problem(
                path, f"read as the label file of {image}; Darknet reads .txt only", "label files end in .TXT"
            )
        if (other := image_of.setdefault(path, image)) != image:
            yield Problem(
                image, f"has the label file of {other}: {path}", "images have the label file of another image"
            )
        for candidate in candidate_label_paths(image):
            if candidate != path and os.path.isfile(candidate) and not os.path.samestat(os.stat(candidate), state):
                yield Problem(candidate, f"not read, as {path} is the label file", "label files are not read")


def _find_orientation(image: str) -> Iterator[Problem]:
    if (orientation := read_orientation(image)) != 1:
        yield Problem(image, f"EXIF orientation {orientation}: the image is read as it is stored without --exif")


def _check_image(image: str, decode: bool, channels: int | None, max_pixels: int) -> Iterator[Problem]:
    try:
        if decode:
            read_image(image, channels, max_pixels=max_pixels)
        else:
            with open(image, "rb"):
                pass
    except DataError as error:
        whole, _, message = str(error).partition(f"{image}: ")
        yield Problem(image, message or whole)
    except OSError as error:
        yield Problem(image, error.strerror or str(error))
