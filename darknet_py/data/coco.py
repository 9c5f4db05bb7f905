"""COCO's annotation files (instances)."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..text_files import read_lines
from .dataset import Dataset, Sample
from .labels import TargetArray


def load_coco(path: StrPath) -> Dataset:
    """Load a COCO annotation file. Crowds become ignored objects; classes are numbered in the order of categories.

    Images are searched in the folder of the file and its parent, and there in COCO's folders (``val2017/``,
    ``images/val2017/``).

    Raises:
        DataError: the file cannot be read or has another structure.
    """
    file = pathlib.Path(path)
    try:
        content = json.loads("\n".join(read_lines(path)))
        categories = sorted((int(entry["id"]), str(entry["name"])) for entry in content["categories"])
        class_of = {category: index for index, (category, _) in enumerate(categories)}
        boxes: dict[tuple[int, bool], list[tuple[float, ...]]] = {}
        for entry in content.get("annotations", ()):
            x, y, w, h = map(float, entry["bbox"])
            row = (x, y, w, h, class_of[entry["category_id"]])
            boxes.setdefault((entry["image_id"], bool(entry.get("iscrowd", 0))), []).append(row)
        samples = [_sample(file, entry, boxes) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        message = f"expected COCO's annotations (images, annotations with bbox, categories): {error!r}"
        raise DataError(f"{path}: {message}") from error
    names = tuple(name for _, name in categories)
    return Dataset(samples, names, (), os.fspath(path), tuple(category for category, _ in categories))


def _sample(file: pathlib.Path, entry: Mapping[str, Any], boxes: Mapping[tuple[int, bool], Any]) -> Sample:
    targets, ignored = (
        _to_targets(boxes.get((entry["id"], crowd), ()), float(entry["width"]), float(entry["height"]))
        for crowd in (False, True)
    )
    name = str(entry["file_name"])
    subset = file.stem.split("_", 1)[-1]  # instances_val2017.json annotates the images of val2017/
    roots = (file.parent, file.parent.parent)
    folders = [root / inner for root in roots for inner in ("", subset, "images", f"images/{subset}")]
    image = next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
    return Sample(str(image), targets, ignored, int(entry["id"]))


def _to_targets(rows: Sequence[tuple[float, ...]], width: float, height: float) -> TargetArray:
    """Rows of left, top, width, height in pixels and class, as targets."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    table[:, :2] += table[:, 2:4] / 2
    table[:, :4] /= (width, height, width, height)
    return table.astype(np.float32)
