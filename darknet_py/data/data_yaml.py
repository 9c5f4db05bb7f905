"""Read ``data.yaml`` files, as Ultralytics, Roboflow and others write them.

path: ../datasets/coco8
train: images/train            # a folder, a list file, or a list of them
names: {0: person, 1: 'traffic light'}
"""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import replace
from typing import Any

from .._typing import StrPath
from ..errors import DataError
from ..files import create_folder
from ..images.sources import is_image_name
from ..messages import get_logger
from ..text_files import PathFinder, read_list, read_text, to_unicode
from .dataset import Dataset, load_image_list
from .labels import LabelOptions, format_labels
from .subsets import SUBSETS, WrittenDataset, spellings, write_lines

_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SUFFIXES = (".yaml", ".yml")
_IMAGES_KEY = re.compile(r"^(train|val|valid|test)\s*:", re.MULTILINE)
_log = get_logger(__name__)


def read_data_yaml(path: StrPath) -> dict[str, Any]:
    """Return the entries of the top level; every number and word in them is text.

    Raises:
        DataError: the file cannot be read, or is not a mapping in YAML; with the line.
    """
    import yaml

    name = os.fspath(path)
    try:
        # Without a type: a class named `no` or `1.0` stays a name.
        content = yaml.load(to_unicode(read_text(path)), yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError(f"{name}{line}: expected YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: expected YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise DataError(f"{name}: expected lines `key: value`, found a {type(content).__name__}")
    return content


def find_names(entries: dict[str, Any], path: StrPath) -> tuple[str, ...]:
    """Return the class names of ``names``: a list, a mapping from numbers, or one name.

    Raises DataError for anything else.
    """
    names = entries.get("names") or []
    if isinstance(names, str):
        names = [names]
    if isinstance(names, dict):
        try:
            names = [names[key] for key in sorted(names, key=int)]
        except ValueError:
            raise DataError(f"{os.fspath(path)}: names: expected class numbers, got {', '.join(names)[:60]}") from None
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{os.fspath(path)}: names: expected a list of names, or `number: name` lines")
    return tuple(names)


def find_paths(entries: dict[str, Any], key: str, path: StrPath) -> list[str]:
    """Return the paths of a key: one, or a list of them. Raises DataError for anything else."""
    value = entries[key]
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(part, str) for part in paths):
        raise DataError(f"{os.fspath(path)}: {key}: expected a path or a list of paths, got a {type(value).__name__}")
    return paths


def find_data_yaml(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return a YAML file, or the ``data.yaml`` in a folder, or the only YAML file there if it names images."""
    if path.suffix.lower() in _SUFFIXES:
        return path
    named = [path / name for name in _NAMES if os.path.isfile(path / name)]
    if named:
        return named[0]
    found = [entry for entry in path.iterdir() if entry.suffix.lower() in _SUFFIXES] if os.path.isdir(path) else []
    names_images = len(found) == 1 and _IMAGES_KEY.search(found[0].read_text(encoding="utf-8", errors="replace"))
    return found[0] if names_images else None


def data_yaml_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have images."""
    file = find_data_yaml(path, "train")
    entries = read_data_yaml(file) if file else {}
    return tuple(subset for subset in SUBSETS if any(entries.get(key) for key in spellings(subset))) or ("train",)


def load_data_yaml(path: pathlib.Path, subset: str, options: LabelOptions) -> Dataset:
    """Load the data set of a data.yaml; the images of ``train`` are used, and logged, if it does not have the subset.

    Raises:
        DataError: a file cannot be read, or names no images.
    """
    entries = read_data_yaml(path)
    keys = spellings(subset)
    key = next((key for key in (*keys, "train") if entries.get(key)), None)
    if key is None:
        raise DataError(f"{path}: expected a line `val: ...` or `train: ...`, found {', '.join(entries) or 'nothing'}")
    if key not in keys:
        _log.warning("%s has no %s: using the images of %s", path, "val" if subset == "valid" else subset, key)
    folder = entries.get("path") or ""
    if not isinstance(folder, str):
        raise DataError(f"{path}: path: expected a folder, got a {type(folder).__name__}")
    parts = [_find_images(part, folder, path) for part in find_paths(entries, key, path)]
    dataset = load_image_list([image for _, images in parts for image in images], options=options, source=str(path))
    return replace(dataset, names=find_names(entries, path), read_from=[source for source, _ in parts])


def _find_images(part: str, folder: str, path: pathlib.Path) -> tuple[str, list[str]]:
    """A folder (with its subfolders) or list that a data.yaml names, relative to ``path:`` in it, and its images.

    Roboflow's paths have one ``../`` too many, and Ultralytics' ``path:`` is relative to its settings.
    """
    root = path.parent / folder
    finder = PathFinder(path)
    found = [str(root / part), finder.find(os.path.join(folder, part)), finder.find(part)]
    candidates = [pathlib.Path(candidate) for candidate in dict.fromkeys(found) if candidate]
    for candidate in candidates:
        if os.path.isdir(candidate):
            images = sorted(str(p) for p in candidate.rglob("*") if is_image_name(p))
            if images:
                finder.log_replaced()
                return str(candidate), images
        elif os.path.isfile(candidate):
            finder.log_replaced()
            lines = read_list(candidate)
            return str(candidate), [line if os.path.exists(line) else str(root / line) for line in lines]
    tried = [*map(str, candidates), str(path.parent / part)]
    raise DataError(f"{path}: {part}: no images; tried {', '.join(dict.fromkeys(tried))}")


def write_data_yaml(data: WrittenDataset) -> None:
    """Write a data.yaml, and the label files in ``labels/``; ignored objects are left out."""
    import yaml

    content: dict[str, Any] = {}
    for subset in data.subsets:
        key = "val" if subset == "valid" else subset
        content[key] = f"images/{key}"
        create_folder(data.root / "labels" / key)
        for image in data.images(subset):
            write_lines(data.root / "labels" / key / f"{image.stem}.txt", format_labels(image.sample.targets))
    content["names"] = dict(enumerate(data.names))
    write_lines(data.root / _NAMES[0], [yaml.safe_dump(content, allow_unicode=True, sort_keys=False).rstrip()])
