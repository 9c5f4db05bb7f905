"""Folders in the layout of Pascal VOC."""

from __future__ import annotations

import math
import os
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..text_files import IMAGE_SUFFIXES, decode_text, read_lines, to_unicode
from .dataset import Dataset, Sample
from .labels import Problem, TargetArray, check_target

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_NO_ANNOTATION = "images have no annotation that can be read and are treated as images without objects"
_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*encoding=["']([\w.:-]+)["']""")  # of an encoding that contains ASCII
_TEXT_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_NUMBER = re.compile(r"[\d_]{1,16}", re.ASCII)  # names of VOC's images, as 2008_000002
_EDGES = ("xmin", "ymin", "xmax", "ymax")


class _VOCObject(NamedTuple):
    name: str
    box: tuple[float, ...]  # (cx, cy, w, h) relative to the image
    is_difficult: bool


def is_voc_folder(folder: StrPath) -> bool:
    """Whether a folder has the layout of Pascal VOC."""
    root = pathlib.Path(folder)
    return os.path.isdir(root / "Annotations") and os.path.isdir(root / "JPEGImages")


def load_voc(folder: StrPath, subset: str = "valid", names: Sequence[str] = VOC_CLASSES) -> Dataset:
    """Load a Pascal VOC folder (such as VOC2007). Difficult objects become ignored ones.

    Boxes are those of Darknet's voc_label.py. An annotation that cannot be read is reported, and its image has no
    objects.

    Args:
        folder: the folder with ``Annotations`` and ``JPEGImages``.
        subset: name of the list in ``ImageSets/Main``; "valid" stands for "val" as well. Without a list, all images.
        names: the classes; if objects have others, all names that occur, sorted.

    Raises:
        DataError: the list cannot be read.
    """
    root = pathlib.Path(folder)
    lists = [root / "ImageSets" / "Main" / f"{name}.txt" for name in (subset, "val" if subset == "valid" else subset)]
    list_file = next((path for path in lists if path.is_file()), None)
    if list_file:
        files = list(_list_files(root, list_file))
    else:
        files = [(_image_path(root, path.stem), path) for path in sorted((root / "Annotations").glob("*.xml"))]
    problems: list[Problem] = []
    annotations = [(image, _read_annotation(path, problems)) for image, path in files]
    occurring = {item.name for _, objects in annotations for item in objects}
    classes = list(names) if occurring <= set(names) else sorted(occurring)
    samples = []
    for image, objects in annotations:
        targets, ignored = (_to_targets(objects, classes, is_difficult) for is_difficult in (False, True))
        samples.append(Sample(image, targets, ignored))
    return Dataset(samples, tuple(classes), problems, os.fspath(folder))


def _list_files(root: pathlib.Path, list_file: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Yield the image and the annotation of each line of a list.

    A line of which neither exists may be any text, which ``FILE:LINE`` replaces in messages unless it is a number.
    """
    for number, line in enumerate(read_lines(list_file), start=1):
        if not (words := line.split()):
            continue
        image, annotation = _image_path(root, words[0]), root / "Annotations" / f"{words[0]}.xml"
        if _NUMBER.fullmatch(words[0]) or any(os.path.isfile(path) for path in (image, annotation)):
            yield image, annotation
        else:
            yield f"{list_file}:{number}", pathlib.Path(f"{list_file}:{number}")


def _to_targets(objects: Sequence[_VOCObject], classes: Sequence[str], is_difficult: bool) -> TargetArray:
    rows = [(*item.box, classes.index(item.name)) for item in objects if item.is_difficult == is_difficult]
    return np.array(rows, np.float32).reshape(-1, 5)


def _image_path(root: pathlib.Path, stem: str) -> str:
    """The image of an annotation: VOC's have the suffix .jpg, other data sets have others."""
    path = str(root / "JPEGImages" / stem)
    suffixes = (".jpg", ".JPG", *IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))
    return next((path + suffix for suffix in suffixes if os.path.isfile(path + suffix)), f"{path}.jpg")


def _read_annotation(path: pathlib.Path, problems: list[Problem]) -> list[_VOCObject]:
    """The objects of an annotation; what cannot be used is reported."""
    try:
        root = ElementTree.fromstring(_read_xml(path))
    except (DataError, ElementTree.ParseError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        problems.append(Problem(str(path), f"{reason}; treated as an image without objects", _NO_ANNOTATION))
        return []
    try:
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        width = height = 0.0
    if not (0 < width < math.inf and 0 < height < math.inf):
        message = "expected a size with width and height above 0; treated as an image without objects"
        problems.append(Problem(str(path), message, _NO_ANNOTATION))
        return []
    objects: list[_VOCObject] = []
    for number, entry in enumerate(root.iter("object"), start=1):
        location = f"{path}: object {number}"
        try:
            left, top, right, bottom = (float(entry.findtext(f"bndbox/{edge}") or "") for edge in _EDGES)
        except ValueError:
            problems.append(Problem(location, "expected a bndbox with xmin, ymin, xmax and ymax; ignored"))
            continue
        centre = ((left + right) / 2 - 1) / width, ((top + bottom) / 2 - 1) / height
        box = (*centre, (right - left) / width, (bottom - top) / height)
        problems.extend(check_target((*box, 0), location))
        if all(map(math.isfinite, box)):
            is_difficult = (entry.findtext("difficult") or "0").strip() == "1"
            objects.append(_VOCObject((entry.findtext("name") or "").strip(), box, is_difficult))
    return objects


def _read_xml(path: pathlib.Path) -> str:
    """The text of an XML file in the encoding that it declares. Raises DataError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no annotation") from None
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    declaration = _DECLARATION.match(content)
    encoding = declaration and declaration[1]
    try:
        text = content.decode(encoding.decode("ascii")) if encoding else to_unicode(decode_text(content))
    except (UnicodeDecodeError, LookupError):
        text = to_unicode(decode_text(content))
    text = _TEXT_DECLARATION.sub("", text)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("expected a VOC annotation without a DTD, found one with a DTD")
    if not text.strip():
        raise DataError("no annotation")
    return text
