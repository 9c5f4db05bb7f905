"""CVAT's annotation file, "CVAT for images 1.1".

    annotations.xml  images/1.jpg

https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import os
import pathlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from ..errors import DataError
from .dataset import Dataset
from .image_finder import ImageFinder
from .labels import Problem
from .named_objects import AnnotatedImage, occurring_names, rectangle_corners, to_dataset, turn_points
from .subsets import DECIMALS, SUBSETS, WrittenDataset, WrittenImage, one_line, spellings
from .xml_files import add_text, read_xml, write_xml

_FILE = "annotations.xml"
_TAGS = ("tag",)  # labels of the whole image


def find_cvat(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return an XML file, or the ``annotations.xml`` in a folder."""
    if path.suffix.lower() == ".xml":
        return path
    return path / _FILE if os.path.isfile(path / _FILE) else None


def cvat_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets of the images; "train" if they have none."""
    found = {image.get("subset", "").lower() for image in _read(find_cvat(path, "train") or path).iter("image")}
    return tuple(subset for subset in SUBSETS if found & set(spellings(subset))) or ("train",)


def load_cvat(path: pathlib.Path, subset: str = "valid") -> Dataset:
    """Load an annotation file. Shapes give their bounding boxes; shapes without a box, such as points, are reported.

    Classes are numbered in the order of the labels. If images have a subset, those of ``subset`` are read.

    Raises:
        DataError: the file cannot be read, or is of a video.
    """
    root = _read(path)
    entries = list(root.iter("image"))
    selected = [entry for entry in entries if entry.get("subset", "").lower() in spellings(subset)]
    finder = ImageFinder(path)
    images = [_read_image(entry, finder, path) for entry in selected or entries]
    names = [name.strip() for label in root.iter("label") if (name := label.findtext("name"))]
    return to_dataset(images, list(dict.fromkeys(names)) or occurring_names(images), os.fspath(path))


def _read(path: pathlib.Path) -> ElementTree.Element:
    try:
        root = read_xml(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if root.tag != "annotations":
        raise DataError(f"{path}: expected CVAT's <annotations>, found <{root.tag}>")
    if root.find("track") is not None:
        raise DataError(f'{path}: tracks of a video: expected an export as "CVAT for images 1.1"')
    return root


def _read_image(entry: ElementTree.Element, finder: ImageFinder, path: pathlib.Path) -> AnnotatedImage:
    name = entry.get("name", "")
    location = f"{path}: image {name}"
    size = (_number(entry, "width"), _number(entry, "height"))
    image = AnnotatedImage(finder.expect(name), location, size)
    for number, shape in enumerate((s for s in entry if s.tag not in _TAGS), start=1):
        try:
            _add_shape(image, shape, f"{location}: {shape.tag} {number}")
        except ValueError as error:
            image.problems.append(Problem(f"{location}: {shape.tag} {number}", f"{error}; ignored"))
    return image


def _number(element: ElementTree.Element, key: str, default: str = "nan") -> float:
    """A number of an element; NaN, which is reported as such, if it is absent or not a number."""
    try:
        return float(element.get(key, default))
    except ValueError:
        return float("nan")


def _numbers(element: ElementTree.Element, keys: str) -> list[float]:
    return [_number(element, key) for key in keys.split()]


def _add_shape(image: AnnotatedImage, shape: ElementTree.Element, location: str) -> None:
    label = shape.get("label", "").strip()
    degrees = _number(shape, "rotation", "0")
    if shape.tag == "box":
        left, top, right, bottom = _numbers(shape, "xtl ytl xbr ybr")
        centre = ((left + right) / 2, (top + bottom) / 2)
        corners: Sequence[Sequence[float]] = rectangle_corners(left, top, right, bottom)
        image.add_points(label, turn_points(corners, centre, degrees) if degrees else corners, location)
    elif shape.tag == "polygon":
        image.add_points(label, _points(shape), location)
    elif shape.tag == "ellipse":
        x, y, rx, ry = _numbers(shape, "cx cy rx ry")
        image.add_ellipse(label, (x, y), (rx, ry), degrees, location)
    elif shape.tag == "mask":
        left, top, width, height = _numbers(shape, "left top width height")
        image.add_points(label, rectangle_corners(left, top, left + width, top + height), location)
    else:
        image.skip(shape.tag, location)


def _points(shape: ElementTree.Element) -> list[tuple[float, float]]:
    try:
        pairs = (point.split(",") for point in shape.get("points", "").split(";"))
        return [(float(x), float(y)) for x, y in pairs]
    except ValueError:
        raise ValueError("expected points x,y") from None


def write_cvat(data: WrittenDataset) -> None:
    """Write an annotation file; detections have the source "auto". Ignored objects are left out."""
    root = ElementTree.Element("annotations")
    add_text(root, "version", "1.1")
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in data.names:
        add_text(ElementTree.SubElement(labels, "label"), "name", one_line(name))
    number = 0
    for subset in data.subsets:
        for image in data.images(subset):
            element = _to_element(image, number, data.names)
            if len(data.subsets) > 1:
                element.set("subset", subset)
            root.append(element)
            number += 1
    write_xml(data.root / _FILE, root)


def _to_element(image: WrittenImage, number: int, names: Sequence[str]) -> ElementTree.Element:
    attributes = {"id": str(number), "name": pathlib.PurePosixPath(image.file).name}
    element = ElementTree.Element("image", attributes | {"width": str(image.width), "height": str(image.height)})
    for item in image.objects():
        if not item.is_ignored:
            source = "manual" if item.confidence is None else "auto"
            edges = zip(("xtl", "ytl", "xbr", "ybr"), item.corners, strict=True)
            box = {"label": one_line(names[item.cls]), "source": source, "occluded": "0"}
            box |= {key: f"{value:.{DECIMALS}f}" for key, value in edges}
            ElementTree.SubElement(element, "box", box | {"z_order": "0"})
    return element
