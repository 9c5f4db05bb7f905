"""Load a data set in any of the usual formats, recognised by the path.

* ``.data``: Darknet's, see ``data_file``.
* ``.txt``, ``.list``, or a folder of images: images with label files next to them or in ``labels/``.
* ``.yaml``: ``data.yaml`` of Ultralytics and Roboflow; label files as above.
* ``.json``: COCO's annotations, see ``coco``.
* a folder with ``Annotations`` and ``JPEGImages``, or several of them (``VOCdevkit``): Pascal VOC, see ``voc``.
* a folder that contains a ``data.yaml``, Roboflow's ``_annotations.coco.json`` or a single .data file.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from dataclasses import replace

from .._typing import StrPath
from ..errors import DataError
from ..images.sources import expand_sources, is_image_name
from ..messages import get_logger
from ..text_files import PathFinder, read_list
from . import data_yaml
from .coco import load_coco
from .data_file import load_data_file
from .dataset import Dataset, load_image_list
from .labels import LabelOptions
from .voc import is_voc_folder, load_voc

_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_log = get_logger(__name__)


def load_dataset(
    path: StrPath,
    subset: str = "valid",
    *,
    classes: int | None = None,
    polygons: bool = False,
    progress: bool = True,
) -> Dataset:
    """Load a data set.

    Args:
        path: a file or folder of one of the formats above.
        subset: ``valid`` or ``train``, if the path has several; "valid" stands for "val" as well.
        classes: number of classes; targets in label files of others are dropped and reported.
        polygons: take the bounding boxes of polygons in label files; otherwise they are reported.
        progress: show a progress bar on stderr if reading label files takes longer than two seconds.

    Raises:
        DataError: the path has none of the formats, or a file cannot be read.
    """
    options = LabelOptions(classes, polygons, progress)
    file, source = pathlib.Path(path), os.fspath(path)
    if os.path.isdir(file) and not is_voc_folder(file) and (description := _find_description(file, subset)):
        file, source = description, str(description)
    suffix = file.suffix.lower()
    if suffix == ".data":
        return load_data_file(file, subset, options)
    if suffix in (".yaml", ".yml"):
        return _load_data_yaml(file, subset, options)
    if suffix == ".json":
        return load_coco(file)
    if is_voc_folder(file):
        return load_voc(file, subset)
    if voc_folders := _find_voc_folders(file):
        return _load_voc_folders(voc_folders, subset, source)
    if suffix == ".list" or (os.path.exists(file) and file.is_fifo()):
        return load_image_list(read_list(file), options=options, source=source)
    if os.path.isdir(file) or suffix == ".txt":
        return load_image_list(expand_sources([source]), options=options, source=source)
    if not suffix and not os.path.exists(file):
        raise DataError(f"{source}: no such file or folder")
    raise DataError(f"{source}: expected a .data, .txt, .list, .yaml or .json file, or a folder")


def _spellings(subset: str) -> tuple[str, ...]:
    """The names that folders and keys of a subset may have."""
    return (subset, "val", "valid") if subset in ("val", "valid") else (subset,)


def _find_description(folder: pathlib.Path, subset: str) -> pathlib.Path | None:
    """The file in a folder that describes a data set, if there is one."""
    coco = [folder / inner / "_annotations.coco.json" for inner in (*_spellings(subset), "")]
    described: list[pathlib.Path] = [*(folder / name for name in _DATA_YAML), *coco]
    for path in described:
        if path.is_file():
            return path
    train = folder / "train" / "_annotations.coco.json"
    if train.is_file():
        _log.warning("%s has no %s: using %s", folder, subset, train)
        return train
    data_files = sorted(folder.glob("*.data"))
    return data_files[0] if len(data_files) == 1 else None


def _find_voc_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders VOC2007, VOC2012, ... in ``VOCdevkit``, or in the folder above it."""
    for root in (folder, folder / "VOCdevkit"):
        if os.path.isdir(root):
            found = sorted(entry for entry in root.iterdir() if is_voc_folder(entry))
            if found:
                return found
    return []


def _load_voc_folders(folders: Sequence[pathlib.Path], subset: str, source: str) -> Dataset:
    """Load several folders of Pascal VOC as one data set."""
    parts = [load_voc(folder, subset) for folder in folders]
    if len({part.names for part in parts}) > 1:
        names = sorted(set().union(*map(_used_names, parts)))
        numbers = {name: number for number, name in enumerate(names)}
        parts = [
            part.map_classes({n: numbers[name] for n, name in enumerate(part.names) if name in numbers}, names)
            for part in parts
        ]
    samples = [sample for part in parts for sample in part.samples]
    return Dataset(samples, parts[0].names, [problem for part in parts for problem in part.problems], source)


def _used_names(dataset: Dataset) -> set[str]:
    """The names of the classes that have objects, ignored ones as well."""
    return {dataset.names[int(cls)] for s in dataset for rows in (s.targets, s.ignored) for cls in rows[:, 4]}


def _load_data_yaml(path: pathlib.Path, subset: str, options: LabelOptions) -> Dataset:
    entries = data_yaml.read_data_yaml(path)
    keys = _spellings(subset)
    key = next((key for key in (*keys, "train") if entries.get(key)), None)
    if key is None:
        raise DataError(f"{path}: expected a line `val: ...` or `train: ...`, found {', '.join(entries) or 'nothing'}")
    if key not in keys:
        _log.warning("%s has no %s: using the images of %s", path, "val" if subset == "valid" else subset, key)
    folder = entries.get("path") or ""
    if not isinstance(folder, str):
        raise DataError(f"{path}: path: expected a folder, got a {type(folder).__name__}")
    images = [image for part in data_yaml.find_paths(entries, key, path) for image in _find_images(part, folder, path)]
    dataset = load_image_list(images, options=options, source=os.fspath(path))
    return replace(dataset, names=data_yaml.find_names(entries, path))


def _find_images(part: str, folder: str, path: pathlib.Path) -> list[str]:
    """Images of a folder (with its subfolders) or list that a data.yaml names, relative to ``path:`` in it.

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
                finder.log_shortened()
                return images
        elif os.path.isfile(candidate):
            finder.log_shortened()
            return [line if os.path.exists(line) else str(root / line) for line in read_list(candidate)]
    tried = [*map(str, candidates), str(path.parent / part)]
    raise DataError(f"{path}: {part}: no images; tried {', '.join(dict.fromkeys(tried))}")
