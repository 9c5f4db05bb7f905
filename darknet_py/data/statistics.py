"""Statistics of a data set: classes, sizes and positions of objects, and the input size that they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .._table import format_table
from ..errors import DataError
from ..images.inspection import read_size
from .anchors import count_classes
from .dataset import Dataset, Sample

Numbers = npt.NDArray[np.float64]

SMALL = 16  # pixels: AlexeyAB's README counts objects below 16 x 16 in the network's input as small
_MAX_SMALL = 0.05  # fraction of small objects that needs no larger input
_MAX_GROWTH = 2.0  # of the sides of an input
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class DatasetStatistics:
    """Statistics of a data set.

    Attributes:
        names: names of the classes.
        images: number of images.
        empty: number of images without objects.
        objects: number of objects of each class.
        images_with: number of images that have each class.
        boxes: float64 [n, 4], (cx, cy, w, h) of every object relative to its image.
        image_sizes: float64 [m, 2], width and height in pixels of the images that can be read.
    """

    names: Sequence[str]
    images: int
    empty: int
    objects: Sequence[int]
    images_with: Sequence[int]
    boxes: Numbers
    image_sizes: Numbers

    def median_image(self) -> tuple[int, int] | None:
        """Return the median width and height of the images in pixels; None if none can be read."""
        if not len(self.image_sizes):
            return None
        width, height = np.median(self.image_sizes, axis=0)
        return int(width), int(height)

    def sides(self, width: int, height: int) -> Numbers:
        """Return the square root of each object's area in pixels, after resizing to ``width`` x ``height``: [n]."""
        sides: Numbers = np.sqrt((self.boxes[:, 2:] * (width, height)).prod(axis=1))
        return sides

    def table(self) -> list[str]:
        """Return the objects and images of each class, and in a last line all, as a table."""
        rows = [
            (str(number), name, str(objects), str(images))
            for number, (name, objects, images) in enumerate(
                zip(self.names, self.objects, self.images_with, strict=True)
            )
        ]
        total = ("", f"all; {self.empty} images without objects", str(sum(self.objects)), str(self.images))
        return format_table([("CLASS", "NAME", "OBJECTS", "IMAGES"), *rows, total], "><>>")

    def to_dict(self, width: int, height: int) -> dict[str, object]:
        """Return the numbers as JSON has them; sizes are those in an input of ``width`` x ``height``."""
        sides = self.sides(width, height)
        quantiles = np.quantile(sides, _QUANTILES).tolist() if len(sides) else [0.0] * len(_QUANTILES)
        return {
            "images": self.images,
            "images_without_objects": self.empty,
            "median_image": self.median_image(),
            "objects": int(sum(self.objects)),
            "classes": [
                {"class": number, "name": name, "objects": objects, "images": images}
                for number, (name, objects, images) in enumerate(
                    zip(self.names, self.objects, self.images_with, strict=True)
                )
            ],
            "input": [width, height],
            "object_side": {f"{quantile:.0%}": value for quantile, value in zip(_QUANTILES, quantiles, strict=True)},
            "small_objects": float((sides < SMALL).mean()) if len(sides) else 0.0,
        }


def compute_statistics(
    dataset: Dataset, *, progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter
) -> DatasetStatistics:
    """Compute the statistics of a data set; ``progress`` wraps the samples, whose image headers are read."""
    sizes = []
    for sample in progress(dataset.samples):
        try:
            sizes.append(read_size(sample.image))
        except DataError:  # ``check`` is for that
            continue
    rows = [sample.targets for sample in dataset if len(sample.targets)]
    boxes = np.concatenate(rows).astype(np.float64)[:, :4] if rows else np.zeros((0, 4))
    objects = count_classes(dataset, len(dataset.names))
    images_with = [0] * len(objects)
    for targets in rows:
        for cls in {int(cls) for cls in targets[:, 4]}:
            images_with[cls] += 1
    names = [*dataset.names, *map(str, range(len(dataset.names), len(objects)))]
    image_sizes = np.array(sizes, np.float64).reshape(-1, 2)
    return DatasetStatistics(names, len(dataset), len(dataset) - len(rows), objects, images_with, boxes, image_sizes)


class InputSize(NamedTuple):
    """A size of a network's input: the fraction of small objects, and the operations relative to the present size."""

    width: int
    height: int
    small: float
    cost: float


def compare_input_sizes(statistics: DatasetStatistics, width: int, height: int, stride: int) -> list[InputSize]:
    """Return the input sizes from half to twice the present one, in steps of ``stride``, smallest first."""
    sizes = []
    for columns in range(max(1, math.ceil(width / 2 / stride)), math.floor(_MAX_GROWTH * width / stride) + 1):
        size = columns * stride, max(1, round(columns * height / width)) * stride
        sides = statistics.sides(*size)
        small = float((sides < SMALL).mean()) if len(sides) else 0.0
        sizes.append(InputSize(*size, small, size[0] * size[1] / (width * height)))
    return sizes


def recommend_input_size(sizes: Sequence[InputSize], width: int) -> InputSize | None:
    """Return the smallest larger input with few small objects, else the largest; None if ``width`` is enough."""
    present = next((size for size in sizes if size.width >= width), None)
    if present is None or present.small <= _MAX_SMALL:
        return None
    larger = [size for size in sizes if size.width > width]
    return next((size for size in larger if size.small <= _MAX_SMALL), larger[-1] if larger else None)


def describe_input_sizes(statistics: DatasetStatistics, sizes: Sequence[InputSize], width: int) -> list[str]:
    """Return a table of some sizes, and what is recommended."""
    if not len(statistics.boxes):
        return ["no objects: no advice on the size of the network's input"]
    present = next((number for number, size in enumerate(sizes) if size.width >= width), len(sizes) - 1)
    numbers = sorted({0, present // 2, present, (present + len(sizes)) // 2, len(sizes) - 1})
    rows = [(f"{s.width} x {s.height}", f"{s.small:.1%}", f"{s.cost:.2f}") for s in (sizes[n] for n in numbers)]
    head = ("INPUT", f"OBJECTS BELOW {SMALL} x {SMALL}", "OPERATIONS")
    better = recommend_input_size(sizes, width)
    if better is None:
        advice = f"advice: {sizes[present].width} x {sizes[present].height} is large enough for these objects"
    else:
        advice = f"advice: --imgsz {better.width} {better.height}"
        if better.small > _MAX_SMALL:
            advice += ", and tiles for the smallest objects (detect --tile)"
    median = statistics.median_image()
    image = f"; the median image has {median[0]} x {median[1]} pixels" if median else ""
    return [*format_table([head, *rows], "<>"), advice + image]
