"""Load a data set in any of the usual formats, recognised by the path.

* ``.data``: Darknet's, see ``data_file``.
* ``.txt``, ``.list``, or a folder of images: images with label files next to them or in ``labels/``.
* ``.yaml``: ``data.yaml`` of Ultralytics and Roboflow; label files as above.
* ``.json``: COCO's annotations, see ``coco``.
* a folder with ``Annotations`` and ``JPEGImages``: Pascal VOC, see ``voc``.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

from .._typing import StrPath
from ..errors import DataError
from ..images.sources import IMAGE_SUFFIXES, expand_sources
from ..text_files import read_list
from . import data_yaml
from .coco import load_coco
from .data_file import load_data_file
from .dataset import Dataset, load_image_list
from .labels import LabelOptions
from .voc import is_voc_folder, load_voc


def load_dataset(
    path: StrPath, subset: str = "valid", *, classes: int | None = None, polygons: bool = False
) -> Dataset:
    """Load a data set.

    Args:
        path: a file or folder of one of the formats above.
        subset: ``valid`` or ``train``, if the path has several; "valid" stands for "val" as well.
        classes: number of classes; targets in label files of others are dropped and reported.
        polygons: take the bounding boxes of polygons in label files; otherwise they are reported.

    Raises:
        DataError: the path has none of the formats, or a file cannot be read.
    """
    options = LabelOptions(classes, polygons)
    file = pathlib.Path(path)
    source = os.fspath(path)
    suffix = file.suffix.lower()
    if suffix == ".data":
        return load_data_file(path, subset, options)
    if suffix in (".yaml", ".yml"):
        return _load_data_yaml(file, subset, options)
    if suffix == ".json":
        return load_coco(file)
    if is_voc_folder(file):
        return load_voc(file, subset)
    if suffix == ".list":
        return load_image_list(read_list(path), options=options, source=source)
    if file.is_dir() or suffix == ".txt":
        return load_image_list(expand_sources([source]), options=options, source=source)
    raise DataError(f"{source}: expected a .data, .txt, .list, .yaml or .json file, or a folder")


def _load_data_yaml(path: pathlib.Path, subset: str, options: LabelOptions) -> Dataset:
    entries = data_yaml.read_data_yaml(path)
    keys = [key for key in (subset, "val" if subset == "valid" else subset, "train") if entries.get(key)]
    if not keys:
        raise DataError(f"{path}: expected a line `val: ...` or `train: ...`, found {', '.join(entries) or 'nothing'}")
    value = entries[keys[0]]
    root = path.parent / str(entries.get("path", ""))
    parts = [value] if isinstance(value, str) else list(value)
    images = [image for part in parts for image in _find_images(part, root, path)]
    names = entries.get("names", [])
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=_class_number)]
    dataset = load_image_list(images, options=options, source=os.fspath(path))
    return replace(dataset, names=tuple([names] if isinstance(names, str) and names else names))


def _class_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"names: expected class numbers, got {text!r}") from None


def _find_images(part: str, root: pathlib.Path, path: pathlib.Path) -> list[str]:
    """Images of a folder (with its subfolders) or list that a data.yaml names; Roboflow's have one ``../`` too many."""
    candidates = [root / part, path.parent / part, path.parent / part.removeprefix("../"), pathlib.Path(part)]
    for candidate in candidates:
        if candidate.is_dir():
            images = sorted(str(p) for p in candidate.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if images:
                return images
        elif candidate.is_file():
            return [str(_resolve_listed(root, line)) for line in read_list(candidate)]
    raise DataError(f"{path}: {part}: no images; tried {', '.join(dict.fromkeys(map(str, candidates)))}")


def _resolve_listed(root: pathlib.Path, line: str) -> pathlib.Path:
    """A path of a list; Ultralytics' may start with ``./`` for the folder of the data set."""
    return pathlib.Path(line) if os.path.exists(line) else root / line
