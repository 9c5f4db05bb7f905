"""Objects as annotation tools store them, with the name of a class and points in pixels, and their data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .dataset import Dataset, Sample
from .labels import Problem, TargetArray, check_target

Box = tuple[float, float, float, float]

NO_ANNOTATION = "images have no annotation that can be read and are treated as images without objects"
_NO_BOX = "shapes have no area and are ignored"


class NamedObject(NamedTuple):
    """An object: the name of its class, its box (cx, cy, w, h) relative to the image, and whether it is ignored."""

    name: str
    box: Box
    is_ignored: bool = False


@dataclass
class AnnotatedImage:
    """An image and its objects.

    Attributes:
        image: path of the image.
        location: what problems of the image name.
        size: width and height in pixels that the points refer to.
        objects: the objects that could be read.
        problems: what could not.
    """

    image: str
    location: str
    size: tuple[float, float]
    objects: list[NamedObject] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.has_size:
            message = "expected a size with width and height above 0; treated as an image without objects"
            self.problems.append(Problem(self.location, message, NO_ANNOTATION))

    @property
    def has_size(self) -> bool:
        """Whether points can be related to the image."""
        return all(0 < side < math.inf for side in self.size)

    def add(self, name: str, box: Sequence[float], location: str, *, is_ignored: bool = False) -> None:
        """Add an object by its box (cx, cy, w, h) relative to the image; what is wrong with it is reported."""
        self.problems.extend(check_target((*box, 0), location))
        if not name:
            self.problems.append(Problem(location, "expected the name of a class, found none; ignored"))
        elif all(map(math.isfinite, box)):
            x, y, w, h = box
            self.objects.append(NamedObject(name, (x, y, w, h), is_ignored))

    def add_points(self, name: str, points: Iterable[Sequence[float]], location: str) -> None:
        """Add the bounding box of points (x, y) in pixels."""
        if self.has_size:
            xs, ys = zip(*points, strict=True)
            width, height = self.size
            left, right, top, bottom = min(xs) / width, max(xs) / width, min(ys) / height, max(ys) / height
            self.add(name, ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), location)

    def add_ellipse(
        self, name: str, centre: Sequence[float], radii: Sequence[float], degrees: float, location: str
    ) -> None:
        """Add the bounding box of an ellipse in pixels, turned clockwise by ``degrees``."""
        (x, y), (rx, ry), angle = centre, radii, math.radians(degrees)
        half_width = math.hypot(rx * math.cos(angle), ry * math.sin(angle))
        half_height = math.hypot(rx * math.sin(angle), ry * math.cos(angle))
        corners = ((x - half_width, y - half_height), (x + half_width, y + half_height))
        self.add_points(name, corners, location)

    def skip(self, kind: str, location: str) -> None:
        """Report a shape that has no box, such as a point or a line."""
        self.problems.append(Problem(location, f"a shape of type {kind!r} has no box; ignored", _NO_BOX))


def turn_points(points: Iterable[Sequence[float]], pivot: Sequence[float], degrees: float) -> list[Sequence[float]]:
    """Turn points (x, y) clockwise on the screen about ``pivot``."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    offsets = ((x - pivot[0], y - pivot[1]) for x, y in points)
    return [(pivot[0] + x * cosine - y * sine, pivot[1] + x * sine + y * cosine) for x, y in offsets]


def rectangle_corners(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle, clockwise."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def occurring_names(images: Iterable[AnnotatedImage]) -> list[str]:
    """Return the sorted names of the classes that have objects."""
    return sorted({item.name for image in images for item in image.objects})


def to_dataset(images: Sequence[AnnotatedImage], names: Sequence[str], source: str) -> Dataset:
    """Build the data set of images; objects of classes that ``names`` lacks are reported and left out."""
    numbers = {name: number for number, name in enumerate(names)}
    samples = []
    problems = []
    for image in images:
        problems += image.problems
        for name in sorted({item.name for item in image.objects} - numbers.keys()):
            message = f"class {name!r} is not among the {len(names)} classes; ignored"
            problems.append(Problem(image.location, message, "images have objects of other classes, which are ignored"))
        targets, ignored = (_to_targets(image.objects, numbers, is_ignored) for is_ignored in (False, True))
        samples.append(Sample(image.image, targets, ignored))
    annotations = [image.location for image in images]
    return Dataset(samples, tuple(names), tuple(dict.fromkeys(problems)), source, read_from=annotations)


def _to_targets(objects: Iterable[NamedObject], numbers: dict[str, int], is_ignored: bool) -> TargetArray:
    rows = [
        (*item.box, numbers[item.name]) for item in objects if item.is_ignored == is_ignored and item.name in numbers
    ]
    return np.array(rows, np.float32).reshape(-1, 5)
