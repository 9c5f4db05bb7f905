"""Folders in the layout of Pascal VOC.

JPEGImages/1.jpg  Annotations/1.xml  ImageSets/Main/train.txt  labelmap.txt (class names, as CVAT writes them)

Annotations beside the images, as LabelImg and Roboflow write them, and in other folders are read as well:

train/1.jpg  train/1.xml, or images/1.png  annotations/1.xml
"""

from __future__ import annotations

import os
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from .._typing import StrPath
from ..errors import DataError
from ..files import create_folder
from ..text_files import IMAGE_SUFFIXES, read_lines, to_unicode
from .dataset import Dataset
from .image_finder import ImageFinder
from .labels import Problem
from .named_objects import NO_ANNOTATION, AnnotatedImage, occurring_names, to_dataset
from .subsets import DECIMALS, SUBSETS, WrittenDataset, WrittenImage, merge_datasets, one_line, spellings, write_lines
from .xml_files import add_text, read_xml, write_xml

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_NUMBER = re.compile(r"[\d_]{1,16}", re.ASCII)  # names of VOC's images, as 2008_000002
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_LISTS = pathlib.PurePath("ImageSets", "Main")
_LABEL_MAP = "labelmap.txt"
_BACKGROUND = "background"  # of segmentations: the first line of CVAT's label maps


def is_voc_folder(folder: StrPath) -> bool:
    """Whether a folder has the layout of Pascal VOC."""
    root = pathlib.Path(folder)
    return os.path.isdir(root / "Annotations") and os.path.isdir(root / "JPEGImages")


def find_voc(path: pathlib.Path, subset: str) -> pathlib.Path | None:
    """Return a folder in the layout of VOC, or with such folders (``VOCdevkit``), or with annotations elsewhere."""
    return path if _find_folders(path) or _is_annotation(next(_loose_annotations(path), None)) else None


def voc_subsets(path: pathlib.Path) -> tuple[str, ...]:
    """Return the subsets that have a list in ``ImageSets/Main``; only "train" if there is no list."""
    folders = _find_folders(path)
    if not folders:
        return tuple(subset for subset in SUBSETS if any(_loose_annotations(path, subset))) or ("train",)
    subsets = tuple(subset for subset in SUBSETS if any(_find_list(root, subset) for root in folders))
    return subsets or ("train",)


def load_voc(path: StrPath, subset: str = "valid", names: Sequence[str] = VOC_CLASSES) -> Dataset:
    """Load Pascal VOC. Difficult objects become ignored ones.

    Boxes are those of Darknet's voc_label.py. An annotation that cannot be read is reported, and its image has no
    objects.

    Args:
        path: the folder with ``Annotations`` and ``JPEGImages``, or a folder of such (``VOCdevkit``), read as one.
        subset: name of the list in ``ImageSets/Main``, or of the folder with annotations; "valid" stands for "val" as
            well. Without one, all images.
        names: the classes; if objects have others, those of ``labelmap.txt``, or else all names that occur, sorted.

    Raises:
        DataError: the list cannot be read.
    """
    root = pathlib.Path(path)
    if folders := _find_folders(root):
        return merge_datasets([_load_folder(folder, subset, names) for folder in folders], os.fspath(path))
    everywhere = {file: _read_annotation(_find_image(file), file) for file in _loose_annotations(root)}
    own = [everywhere[file] for file in _loose_annotations(root, subset)]
    occurring = occurring_names(everywhere.values())
    return to_dataset(own or [*everywhere.values()], names if {*occurring} <= {*names} else occurring, os.fspath(path))


def _find_folders(path: pathlib.Path) -> list[pathlib.Path]:
    """The folder itself, or the folders VOC2007, VOC2012, ... in ``VOCdevkit``, or in the folder above it."""
    if is_voc_folder(path):
        return [path]
    for root in (path, path / "VOCdevkit"):
        if os.path.isdir(root):
            found = sorted(entry for entry in root.iterdir() if is_voc_folder(entry))
            if found:
                return found
    return []


def _loose_annotations(path: pathlib.Path, *subsets: str) -> Iterator[pathlib.Path]:
    """Annotations outside of VOC's layout: in a folder and in those of its subsets, or in those of ``subsets`` only."""
    inner = [name for subset in subsets or SUBSETS for name in spellings(subset)]
    for name in dict.fromkeys(inner if subsets else ("", "annotations", "Annotations", *inner)):
        if os.path.isdir(folder := path / name):  # glob fails on a name that is too long
            yield from sorted(file for file in folder.glob("*.xml") if not file.name.startswith("."))


def _is_annotation(path: pathlib.Path | None) -> bool:
    """Whether a file is VOC's annotation of an image, and there is no label file of Darknet beside it."""
    try:
        return path is not None and read_xml(path).tag == "annotation" and not os.path.isfile(path.with_suffix(".txt"))
    except DataError:
        return False


def _find_image(annotation: pathlib.Path) -> str:
    """The image of an annotation outside of VOC's layout: by the annotation's name, else by the name in it."""
    finder = ImageFinder(annotation)
    suffixes = (suffix for lower in IMAGE_SUFFIXES for suffix in (lower, lower.upper()))
    names = [f"{annotation.stem}{suffix}" for suffix in suffixes]
    with suppress(DataError):
        names.append((read_xml(annotation).findtext("filename") or "").strip())
    found = (path for name in names if name and (path := finder.find(name)))
    return next(found, str(annotation.with_suffix(".jpg")))


def _find_list(root: pathlib.Path, subset: str) -> pathlib.Path | None:
    return next((path for name in spellings(subset) if os.path.isfile(path := root / _LISTS / f"{name}.txt")), None)


def _load_folder(root: pathlib.Path, subset: str, names: Sequence[str]) -> Dataset:
    list_file = _find_list(root, subset)
    everything = [(_image_path(root, path.stem), path) for path in sorted((root / "Annotations").glob("*.xml"))]
    files = list(_list_files(root, list_file)) if list_file else everything
    images = [_read_annotation(*file) for file in files]
    label_map = root / _LABEL_MAP
    if os.path.isfile(label_map):
        lines = (to_unicode(line).rsplit(":", 3)[0].strip() for line in read_lines(label_map))
        names = [name for name in lines if name and name != _BACKGROUND and not name.startswith("#")]
    elif not set(occurring_names(images)) <= set(names):
        # The numbers of classes must be the same in all lists.
        others = [_read_annotation(*file) for file in sorted(set(everything) - set(files))]
        names = occurring_names([*images, *others])
    dataset = to_dataset(images, names, os.fspath(root))
    return replace(dataset, read_from=(*dataset.read_from, *map(str, filter(None, (list_file, label_map)))))


def _list_files(root: pathlib.Path, list_file: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Yield the image and the annotation of each line of a list; in a list of one class there is a number after it.

    A line of which neither exists may be any text, which ``FILE:LINE`` replaces in messages unless it is a number.
    """
    for number, line in enumerate(read_lines(list_file), start=1):
        if not (words := line.split()):
            continue
        for stem in (line.strip(), words[0]):
            image, annotation = _image_path(root, stem), root / "Annotations" / f"{stem}.xml"
            if any(os.path.isfile(path) for path in (image, annotation)):
                yield image, annotation
                break
        else:
            unknown = f"{list_file}:{number}"
            yield (image, annotation) if _NUMBER.fullmatch(words[0]) else (unknown, pathlib.Path(unknown))


def _image_path(root: pathlib.Path, stem: str) -> str:
    """The image of an annotation: VOC's have the suffix .jpg, other data sets have others."""
    path = str(root / "JPEGImages" / stem)
    suffixes = (".jpg", ".JPG", *IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))
    return next((path + suffix for suffix in suffixes if os.path.isfile(path + suffix)), f"{path}.jpg")


def _read_annotation(image: str, path: pathlib.Path) -> AnnotatedImage:
    """The objects of an annotation; what cannot be used is reported."""
    try:
        element = read_xml(path)
    except DataError as error:
        problem = Problem(str(path), f"{error}; treated as an image without objects", NO_ANNOTATION)
        return AnnotatedImage(image, str(path), (1, 1), problems=[problem])
    try:
        width, height = (float(element.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        width = height = 0.0
    annotated = AnnotatedImage(image, str(path), (width, height))
    for number, entry in enumerate(element.iter("object") if annotated.has_size else (), start=1):
        location = f"{path}: object {number}"
        try:
            left, top, right, bottom = (float(entry.findtext(f"bndbox/{edge}") or "") for edge in _EDGES)
        except ValueError:
            message = "expected a bndbox with xmin, ymin, xmax and ymax; ignored"
            annotated.problems.append(Problem(location, message))
            continue
        centre = ((left + right) / 2 - 1) / width, ((top + bottom) / 2 - 1) / height
        box = (*centre, (right - left) / width, (bottom - top) / height)
        is_difficult = (entry.findtext("difficult") or "0").strip() == "1"
        annotated.add((entry.findtext("name") or "").strip(), box, location, is_ignored=is_difficult)
    return annotated


def write_voc(data: WrittenDataset) -> None:
    """Write annotations, lists and a label map; ignored objects are difficult ones."""
    lists = create_folder(data.root / _LISTS)
    folder = create_folder(data.root / "Annotations")
    for subset, images in data.subsets.items():
        write_lines(lists / f"{'val' if subset == 'valid' else subset}.txt", (image.stem for image in images))
    for image in data.images():
        write_xml(folder / f"{image.stem}.xml", _to_element(image, data.names))
    label_map = ["# label:color_rgb:parts:actions", *(f"{one_line(name)}:::" for name in data.names)]
    write_lines(data.root / _LABEL_MAP, label_map)


def _to_element(image: WrittenImage, names: Sequence[str]) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    add_text(root, "folder", "JPEGImages")
    add_text(root, "filename", pathlib.PurePath(image.file).name)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        add_text(size, tag, value)
    add_text(root, "segmented", 0)
    for item in image.objects():
        entry = ElementTree.SubElement(root, "object")
        add_text(entry, "name", one_line(names[item.cls]))
        for tag, value in (("truncated", 0), ("difficult", int(item.is_ignored))):
            add_text(entry, tag, value)
        box = ElementTree.SubElement(entry, "bndbox")
        for tag, edge in zip(_EDGES, item.corners, strict=True):
            add_text(box, tag, f"{round(edge + 1, DECIMALS):g}")  # VOC's first pixel is 1
    return root
