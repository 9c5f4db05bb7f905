"""Files of small data sets, written one by one, and the targets that are read from them."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from PIL import Image

from darknet_py.data.dataset import Dataset


def write_image(path: pathlib.Path, size: tuple[int, int] = (40, 20)) -> str:
    """Write a black image of (width, height) pixels with its folders; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return str(path)


def write_text(path: pathlib.Path, text: str) -> pathlib.Path:
    """Write a text file with its folders; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def coco_content(annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The content of a COCO annotation file of an image and two categories; ``more`` replaces entries."""
    image = {"id": 1, "file_name": "1.png", "width": 200, "height": 100}
    categories = [{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"images": [image], "categories": categories, "annotations": annotations} | more


def rounded_targets(dataset: Dataset) -> list[list[list[float]]]:
    """The targets of each image, rounded to 4 decimals."""
    return [np.round(sample.targets.astype(float), 4).tolist() for sample in dataset]
