"""Write a data set in any format that is read, into a new folder with its images."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DataError
from ..files import create_folder, refuse_url, temporary_folder
from ..images.inspection import read_size
from ..images.sources import unique_stem
from ..text_files import to_unicode
from .coco import category_ids
from .dataset import Dataset, Sample
from .formats import FORMATS
from .labels import Problem
from .subsets import WrittenDataset, WrittenImage, unify_classes

_UNWANTED = re.compile(r"[\x00-\x1f\x7f/\\]")  # in a name: lists have a path per line
NO_IMAGE = "images cannot be read and are left out"
_NO_IGNORED = "images have objects that evaluation ignores, which this format does not have: left out"

Progress = Callable[[Sequence[Sample]], Iterable[Sample]]
Confidences = Mapping[str, npt.NDArray[np.floating]]


def write_dataset(
    subsets: Mapping[str, Dataset],
    folder: StrPath,
    format_name: str,
    *,
    stem: str = "obj",
    link: bool = False,
    confidences: Confidences | None = None,
    add_files: Callable[[pathlib.Path], None] = lambda folder: None,
    progress: Progress = iter,
) -> list[Problem]:
    """Write a data set into a new folder, which appears only when it is complete.

    Images keep the bytes of their files. They get names of their own where several have the same one.

    Args:
        subsets: its lists (train, valid, test).
        folder: a folder that does not exist, or is empty.
        format_name: key of ``FORMATS``.
        stem: of the .data file and its class names.
        link: make symbolic links to the images instead of copies.
        confidences: scores of the targets by image, float [n], if they are detections.
        add_files: called with the folder before it gets its name, to add more files.
        progress: wraps the samples, for a progress bar.

    Returns:
        What is left out.

    Raises:
        DataError: the folder exists and is not empty, or cannot be written, or none of the images can be read.
    """
    require_new_folder(folder)
    target = pathlib.Path(folder)
    form = FORMATS[format_name]
    parts = dict(zip(subsets, unify_classes(list(subsets.values())), strict=True))
    first = next(iter(parts.values()))
    problems: list[Problem] = []
    try:
        with temporary_folder(create_folder(target.absolute().parent)) as temporary:
            root = temporary / "data"
            root.mkdir()
            writer = _ImageWriter(root, link, confidences or {}, problems)
            written: dict[str, list[WrittenImage]] = {}
            for subset, dataset in parts.items():
                images = form.images.format(subset=subset, short="val" if subset == "valid" else subset)
                written[subset] = [
                    image for sample in progress(dataset.samples) if (image := writer.write(sample, subset, images))
                ]
            if problems and not any(written.values()):
                raise DataError(f"{first.source}: none of the images can be read; the first: {problems[0]}")
            if not form.has_ignored:
                problems += [
                    Problem(sample.image, "objects that evaluation ignores are left out", _NO_IGNORED)
                    for dataset in parts.values()
                    for sample in dataset
                    if len(sample.ignored)
                ]
            form.write(WrittenDataset(root, written, first.names, category_ids(first), stem))
            add_files(root)
            if target.is_dir():
                target.rmdir()
            root.rename(target)
    except OSError as error:
        raise DataError(f"{target}: {error.strerror or error}") from error
    return problems


def require_new_folder(folder: StrPath) -> None:
    """Raise DataError unless a data set can be written into ``folder``: it does not exist, or is empty."""
    refuse_url(folder)
    target = pathlib.Path(folder)
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target}: exists: expected the name of a new folder, as nothing in it is replaced")


class _ImageWriter:
    """Copies or links images, and knows where each one is."""

    def __init__(self, root: pathlib.Path, link: bool, confidences: Confidences, problems: list[Problem]) -> None:
        self._root = root
        self._link = link
        self._confidences = confidences
        self._problems = problems
        self._stems: set[str] = set()
        self._written: dict[tuple[str, str], WrittenImage | None] = {}

    def write(self, sample: Sample, subset: str, folder: str) -> WrittenImage | None:
        """Write the image of a sample, once for each subset; None if it cannot be read, which is reported."""
        key = (subset, sample.image)
        if key not in self._written:
            self._written[key] = self._write(sample, folder)
        return self._written[key]

    def _write(self, sample: Sample, folder: str) -> WrittenImage | None:
        source = pathlib.Path(sample.image)
        try:
            width, height = read_size(sample.image)
        except DataError as error:
            message = f"{str(error).removeprefix(f'{sample.image}: ')}; left out"
            self._problems.append(Problem(sample.image, message, NO_IMAGE))
            return None
        plain = _UNWANTED.sub("_", to_unicode(source.stem)).strip(" .") or "image"
        file = f"{folder}/{unique_stem(plain, self._stems)}{source.suffix}"
        target = create_folder((self._root / file).parent) / pathlib.PurePosixPath(file).name
        if self._link:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)
        return WrittenImage(file, width, height, sample, self._confidences.get(sample.image))
