"""Darknet's files that describe a data set: ``.data``, lists of images, class names.

    obj.data  obj.names  train.txt  train/1.jpg  train/1.txt

Paths in these files are found by ``text_files.PathFinder``: relative to the working directory, as in Darknet, or else
to the folder of the file.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .._typing import StrPath
from ..errors import DataError
from ..messages import describe_text, get_logger
from ..text_files import PathFinder, read_lines, read_list, to_unicode
from .dataset import Dataset, load_image_list
from .labels import DEFAULT_OPTIONS, LabelOptions, format_labels
from .subsets import SUBSETS, WrittenDataset, one_line, write_lines

_log = get_logger(__name__)


@dataclass(frozen=True)
class DataFile:
    """The entries of a ``.data`` file; of a repeated key the first one counts."""

    path: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        """Return the value of a key. Raises DataError if the file does not have it."""
        if key not in self.values:
            raise DataError(f"{self.path}: expected a line `{key} = ...`, found {', '.join(self.values) or 'nothing'}")
        return self.values[key]

    def get_int(self, key: str, default: int) -> int:
        """Return a value as an integer. Raises DataError if it is not one."""
        text = self.values.get(key, str(default))
        try:
            return int(text)
        except ValueError:
            raise DataError(f"{self.path}: {key}: expected an integer, got {describe_text(text)}") from None

    def list_key(self, subset: str) -> str:
        """Return the key of the list of ``subset``; without one it is ``train``, as in Darknet, which is logged."""
        if subset in self.values:
            return subset
        if "train" in self.values:
            _log.warning("%s has no %s=: using the images of train=%s", self.path, subset, self.values["train"])
        return "train"

    def get_path(self, key: str) -> str:
        """Return the path of the file or folder that a key names.

        Raises:
            DataError: there is no such key or file, or it is a device or pipe, which may have no end.
        """
        path = PathFinder(self.path).require(self[key], key)
        if not (os.path.isfile(path) or os.path.isdir(path)):
            raise DataError(f"{self.path}: {key}: expected a regular file, found a device or pipe: {path}")
        return path


def read_data_file(path: StrPath) -> DataFile:
    """Read a ``.data`` file: ``key = value`` lines; ``#`` and ``;`` start a comment line.

    Unlike Darknet, which removes all blanks, this keeps those inside a path.

    Raises:
        DataError: the file cannot be read, or a line has no ``=``.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise DataError(f"{os.fspath(path)}:{number}: expected `key = value`, got {describe_text(text)}")
        values.setdefault(key.strip(), value.strip())
    return DataFile(os.fspath(path), values)


def read_names(path: StrPath) -> tuple[str, ...]:
    """Read class names, one per line; empty lines at the end are ignored. Raises DataError if it cannot be read."""
    text = to_unicode("\n".join(read_lines(path)).rstrip())
    return tuple(line.strip() for line in text.split("\n")) if text else ()


def load_data_file(path: StrPath, subset: str = "valid", options: LabelOptions = DEFAULT_OPTIONS) -> Dataset:
    """Load the data set of a ``.data`` file.

    Args:
        path: the ``.data`` file.
        subset: key of the list, ``valid`` or ``train``; ``train`` is used, and logged, if the file does not have it.
        options: how label files are read.

    Raises:
        DataError: a file cannot be read or does not have a needed entry.
    """
    entries = read_data_file(path)
    key = entries.list_key(subset)
    used = [key, *(("difficult",) if subset == "valid" else ()), "names"]
    paths = {name: entries.get_path(name) for name in used if name == key or name in entries.values}
    images = read_list(paths[key])
    difficult = read_list(paths["difficult"]) if "difficult" in paths else ()
    names = read_names(paths["names"]) if "names" in paths else ()
    dataset = load_image_list(images, difficult, options=options, source=os.fspath(path))
    return replace(dataset, names=names, read_from=tuple(paths.values()))


def find_data_file(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return a .data file, or the only one in a folder."""
    if path.suffix.lower() == ".data":
        return path
    found = sorted(path.glob("*.data")) if os.path.isdir(path) else []
    return found[0] if len(found) == 1 else None


def data_file_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have a list."""
    file = find_data_file(path, "train")
    entries = read_data_file(file).values if file else {}
    return tuple(subset for subset in SUBSETS if subset in entries) or ("train",)


def write_darknet(data: WrittenDataset) -> None:
    """Write a .data file, class names, lists, and label files beside the images; ignored objects are left out."""
    for image in data.images():
        write_lines((data.root / image.file).with_suffix(".txt"), format_labels(image.sample.targets))
    entries = {"classes": str(len(data.names))}
    for subset, images in data.subsets.items():
        write_lines(data.root / f"{subset}.txt", (image.file for image in images))
        entries[subset] = f"{subset}.txt"
    names = f"{data.stem}.names"
    write_lines(data.root / names, map(one_line, data.names))
    entries |= {"names": names, "backup": "backup"}
    write_lines(data.root / f"{data.stem}.data", (f"{key} = {value}" for key, value in entries.items()))
