"""``load``: a data set in any of the usual formats, told apart by what ``path`` is.

* ``.data``: Darknet's, see ``data``.
* ``.txt``, ``.list``, or a folder of images: images with label files beside them or in ``labels/``.
* ``.yaml``: ultralytics' and Roboflow's ``data.yaml``; labels as above.
* ``.json``: COCO's annotations; images beside the file or in the folders that COCO has. Crowds are ignored.
* a folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``: Pascal VOC. Difficult objects are ignored.
"""

from __future__ import annotations

import json
import os
import pathlib
import xml.etree.ElementTree as tree
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._typing import StrPath
from ..errors import DataError
from ..images import sources
from . import data_file, data_yaml
from .data_file import Dataset, Sample
from .labels import Problem, TargetArray, lines, none

VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def load(path: StrPath, subset: str = "valid", *, classes: int | None = None) -> Dataset:
    """Read a data set.

    ``subset``: ``valid`` or ``train``, where ``path`` names several; ``val`` stands for ``valid`` where a
    format calls it so. ``classes``: label files' objects of a class beyond are left out and reported.
    Raises DataError.
    """
    place, source = pathlib.Path(path), os.fspath(path)
    suffix = place.suffix.lower()
    if suffix == ".data":
        return data_file.load(path, subset, classes=classes)
    if suffix in (".yaml", ".yml"):
        return _yaml(place, subset, classes)
    if suffix == ".json":
        return coco(place)
    if (place / "Annotations").is_dir() and (place / "JPEGImages").is_dir():
        return voc(place, subset)
    if suffix == ".list":
        return data_file.from_list(data_file.read_list(path), classes=classes, source=source)
    if place.is_dir() or suffix == ".txt":
        return data_file.from_list(sources.expand_sources([source]), classes=classes, source=source)
    raise DataError(f"{source}: expected a .data, .txt, .list, .yaml or .json file, or a folder")


def _yaml(path: pathlib.Path, subset: str, classes: int | None) -> Dataset:
    entries = data_yaml.read(path)
    keys = [key for key in (subset, "val" if subset == "valid" else subset, "train") if entries.get(key)]
    if not keys:
        raise DataError(f"{path}: expected a line `val: ...` or `train: ...`, found {', '.join(entries) or 'nothing'}")
    value = entries[keys[0]]
    root = path.parent / str(entries.get("path", ""))
    parts = [value] if isinstance(value, str) else list(value)
    images = [image for part in parts for image in _images(part, root, path)]
    names = entries.get("names", [])
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=_number)]
    found = data_file.from_list(images, classes=classes, source=os.fspath(path))
    return replace(found, names=tuple([names] if isinstance(names, str) and names else names))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"names: expected class numbers, got {text!r}") from None


def _images(part: str, root: pathlib.Path, path: pathlib.Path) -> list[str]:
    """Images of a folder (and its folders) or list; Roboflow's ``../`` is one too many."""
    places = [root / part, path.parent / part, path.parent / part.removeprefix("../"), pathlib.Path(part)]
    for place in places:
        if place.is_dir():
            found = sorted(str(p) for p in place.rglob("*") if p.suffix.lower() in sources.IMAGE_SUFFIXES)
            if found:
                return found
        elif place.is_file():
            return [str(_from(root, line)) for line in data_file.read_list(place)]
    raise DataError(f"{path}: {part}: no images; tried {', '.join(dict.fromkeys(map(str, places)))}")


def _from(root: pathlib.Path, line: str) -> pathlib.Path:
    """A list's path, which ultralytics lets begin with ``./`` for the data set's folder."""
    return pathlib.Path(line) if os.path.exists(line) else root / line


def coco(path: StrPath) -> Dataset:
    """COCO's annotation file (instances). Raises DataError."""
    place = pathlib.Path(path)
    try:
        content = json.loads("\n".join(lines(path)))
        categories = sorted((int(entry["id"]), str(entry["name"])) for entry in content["categories"])
        number = {identity: index for index, (identity, _) in enumerate(categories)}
        boxes: dict[tuple[int, bool], list[tuple[float, ...]]] = {}
        for entry in content.get("annotations", ()):
            x, y, w, h = map(float, entry["bbox"])
            row = (x, y, w, h, number[entry["category_id"]])
            boxes.setdefault((entry["image_id"], bool(entry.get("iscrowd", 0))), []).append(row)
        samples = [_coco_sample(place, entry, boxes) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        text = f"expected COCO's annotations (images, annotations with bbox, categories): {error!r}"
        raise DataError(f"{path}: {text}") from error
    names, identities = tuple(name for _, name in categories), tuple(identity for identity, _ in categories)
    return Dataset(samples, names, (), os.fspath(path), identities)


def _coco_sample(place: pathlib.Path, entry: Mapping[str, Any], boxes: Mapping[tuple[int, bool], Any]) -> Sample:
    targets, ignored = (
        _relative(boxes.get((entry["id"], crowd), ()), float(entry["width"]), float(entry["height"]))
        for crowd in (False, True)
    )
    name = str(entry["file_name"])
    part = place.stem.split("_", 1)[-1]  # instances_val2017.json belongs to val2017/
    near = (place.parent, place.parent.parent)
    folders = [folder / inner for folder in near for inner in ("", part, "images", f"images/{part}")]
    image = next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
    return Sample(str(image), targets, ignored, int(entry["id"]))


def _relative(rows: Sequence[tuple[float, ...]], width: float, height: float) -> TargetArray:
    """Left, top, width, height in pixels and class, as targets."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    table[:, :2] += table[:, 2:4] / 2
    table[:, :4] /= (width, height, width, height)
    return table.astype(np.float32)


def voc(folder: StrPath, subset: str = "valid", names: Sequence[str] = VOC) -> Dataset:
    """A Pascal VOC folder (such as VOC2007): ``ImageSets/Main/SUBSET.txt``, all images where there is none.

    ``names``: the classes; where objects have others, all that occur, sorted. Boxes are as Darknet's
    voc_label.py makes them.
    """
    root = pathlib.Path(folder)
    listed = [root / "ImageSets" / "Main" / f"{name}.txt" for name in (subset, "val" if subset == "valid" else subset)]
    found = next((path for path in listed if path.is_file()), None)
    if found:
        stems = [line.split()[0] for line in lines(found) if line.split()]
    else:
        stems = sorted(path.stem for path in (root / "Annotations").glob("*.xml"))
    problems: list[Problem] = []
    read = [(stem, _voc_objects(root / "Annotations" / f"{stem}.xml", problems)) for stem in stems]
    known = {name for _, objects in read for name, _, _ in objects}
    order = list(names) if known <= set(names) else sorted(known)
    samples = []
    for stem, objects in read:
        parts = [
            np.array([(*box, order.index(name)) for name, box, hard in objects if hard == wanted], np.float32)
            for wanted in (False, True)
        ]
        targets, ignored = (part.reshape(-1, 5) if part.size else none() for part in parts)
        samples.append(Sample(str(_voc_image(root, stem)), targets, ignored))
    return Dataset(samples, tuple(order), problems, os.fspath(folder))


def _voc_image(root: pathlib.Path, stem: str) -> pathlib.Path:
    """The image of an annotation: VOC's are .jpg, others' are what they are."""
    places = [root / "JPEGImages" / (stem + suffix) for suffix in (".jpg", *sources.IMAGE_SUFFIXES)]
    return next((place for place in places if place.is_file()), places[0])


def _voc_objects(path: pathlib.Path, problems: list[Problem]) -> list[tuple[str, tuple[float, ...], bool]]:
    """Name, centre and size, and difficulty of each object of an annotation."""
    text = "\n".join(lines(path)) if path.is_file() else ""
    if not text:
        problems.append(Problem(str(path), "no annotation, taken for an image without objects"))
        return []
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path}: an annotation with a DTD, which VOC's do not have: not read")
    try:
        root = tree.fromstring(text)
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        objects: list[tuple[str, tuple[float, ...], bool]] = []
        for entry in root.iter("object"):
            left, top, right, bottom = (float(entry.findtext(f"bndbox/{edge}") or "") for edge in _EDGES)
            centre = ((left + right) / 2 - 1) / width, ((top + bottom) / 2 - 1) / height
            box = (*centre, (right - left) / width, (bottom - top) / height)
            hard = (entry.findtext("difficult") or "0").strip() == "1"
            objects.append(((entry.findtext("name") or "").strip(), box, hard))
    except (tree.ParseError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{path}: expected a VOC annotation with size and bndbox: {error}") from error
    return objects


_EDGES = ("xmin", "ymin", "xmax", "ymax")
