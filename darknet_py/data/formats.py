"""The formats of data sets: how each is recognised by a path, read and written.

* ``darknet``: a ``.data`` file, see ``data_file``.
* ``ultralytics``: ``data.yaml`` of Ultralytics and Roboflow, see ``data_yaml``.
* ``coco``: COCO's annotations in JSON, see ``coco``.
* ``voc``: a folder with ``Annotations`` and ``JPEGImages``, or several of them (``VOCdevkit``), see ``voc``.
* ``cvat``: ``annotations.xml`` of CVAT, see ``cvat``.
* ``label-studio``: Label Studio's tasks in JSON, see ``label_studio``.
* ``labelme``: a folder of images with LabelMe's JSON files, see ``labelme``.
* ``.txt``, ``.list``, or a folder of images: images with label files next to them or in ``labels/``; read only.
  A folder may have a file of class names, see ``image_folder``.

A path is the file that describes the data set, or a folder that contains it.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .._typing import StrPath
from ..errors import DataError
from ..images.sources import expand_sources
from ..text_files import read_list
from .coco import coco_subsets, find_coco, load_coco, write_coco
from .cvat import cvat_subsets, find_cvat, load_cvat, write_cvat
from .data_file import data_file_subsets, find_data_file, load_data_file, write_darknet
from .data_yaml import data_yaml_subsets, find_data_yaml, load_data_yaml, write_data_yaml
from .dataset import Dataset, load_image_list
from .image_folder import find_only_annotations, load_image_folder
from .label_studio import find_label_studio, label_studio_subsets, load_label_studio, write_label_studio
from .labelme import find_labelme, labelme_subsets, load_labelme, write_labelme
from .labels import LabelOptions
from .subsets import WrittenDataset, unify_classes
from .voc import find_voc, is_voc_folder, load_voc, voc_subsets, write_voc


class DatasetFormat(NamedTuple):
    """A format of data sets.

    Attributes:
        name: its name on the command line.
        find: the file or folder to load for a path and a subset; None if the path has another format.
        subsets: the lists that a path has.
        load: reads what ``find`` returned.
        write: writes annotations into a folder that has the images.
        images: folder of the images of ``{subset}``, or, where VOC's name differs, of ``{short}``.
        has_ignored: whether it has objects that evaluation ignores.
    """

    name: str
    find: Callable[[pathlib.Path, str], pathlib.Path | None]
    subsets: Callable[[pathlib.Path], tuple[str, ...]]
    load: Callable[[pathlib.Path, str, LabelOptions], Dataset]
    write: Callable[[WrittenDataset], None]
    images: str
    has_ignored: bool = False


def _plain(load: Callable[[pathlib.Path, str], Dataset]) -> Callable[[pathlib.Path, str, LabelOptions], Dataset]:
    """A reader of a format without label files, which has no options."""
    return lambda path, subset, options: load(path, subset)


_ULTRALYTICS = DatasetFormat(
    "ultralytics", find_data_yaml, data_yaml_subsets, load_data_yaml, write_data_yaml, "images/{short}"
)
_LABEL_STUDIO = DatasetFormat(
    "label-studio", find_label_studio, label_studio_subsets, _plain(load_label_studio), write_label_studio, "images"
)
_COCO = DatasetFormat(
    "coco", find_coco, coco_subsets, _plain(lambda path, _: load_coco(path)), write_coco, "images/{subset}", True
)
_DARKNET = DatasetFormat("darknet", find_data_file, data_file_subsets, load_data_file, write_darknet, "{subset}")
_CVAT = DatasetFormat("cvat", find_cvat, cvat_subsets, _plain(load_cvat), write_cvat, "images")
_VOC = DatasetFormat("voc", find_voc, voc_subsets, _plain(load_voc), write_voc, "JPEGImages", True)
_LABELME = DatasetFormat("labelme", find_labelme, labelme_subsets, _plain(load_labelme), write_labelme, "{subset}")

# In the order in which a folder is searched for them.
FORMATS = {form.name: form for form in (_ULTRALYTICS, _LABEL_STUDIO, _COCO, _DARKNET, _CVAT, _VOC, _LABELME)}


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
        polygons: take the bounding boxes of polygons in label files; otherwise they are reported. Annotation formats
            with shapes give bounding boxes in any case.
        progress: show a progress bar on stderr if reading label files takes longer than two seconds.

    Raises:
        DataError: the path has none of the formats, or a file cannot be read.
    """
    options = LabelOptions(classes, polygons, progress)
    file, source = pathlib.Path(path), os.fspath(path)
    if found := _find_format(file, subset):
        form, described = found
        return form.load(described, subset, options)
    suffix = file.suffix.lower()
    if suffix == ".list" or (os.path.exists(file) and file.is_fifo()):
        return load_image_list(read_list(file), options=options, source=source)
    if os.path.isdir(file):
        return load_image_folder(file, options)
    if suffix == ".txt":
        return load_image_list(expand_sources([source]), options=options, source=source)
    if not suffix and not os.path.exists(file):
        raise DataError(f"{source}: no such file or folder")
    raise DataError(f"{source}: expected a .data, .txt, .list, .yaml, .json or .xml file, or a folder")


def load_subsets(path: StrPath, *, polygons: bool = False, progress: bool = True) -> dict[str, Dataset]:
    """Load all lists of a data set, with the same classes in each; one with the images of another is left out.

    Args:
        path: as for ``load_dataset``.
        polygons: as for ``load_dataset``.
        progress: as for ``load_dataset``.

    Raises:
        DataError: the path has none of the formats, or a file cannot be read.
    """
    file = pathlib.Path(path)
    found = _find_format(file, "train")
    loaded: dict[str, Dataset] = {}
    for subset in found[0].subsets(file) if found else ("train",):
        dataset = load_dataset(path, subset, polygons=polygons, progress=progress)
        images = [sample.image for sample in dataset]
        if all(images != [sample.image for sample in other] for other in loaded.values()):
            loaded[subset] = dataset
    return dict(zip(loaded, unify_classes(list(loaded.values())), strict=True))


def _find_format(path: pathlib.Path, subset: str) -> tuple[DatasetFormat, pathlib.Path] | None:
    """The format of a path, and the file or folder to load; None for lists and folders of images."""
    order = (_VOC, *FORMATS.values()) if is_voc_folder(path) else FORMATS.values()
    found = _first_format(order, path, subset)
    if found is None and (file := find_only_annotations(path)) is not None:  # reads files: only where nothing else fits
        found = _first_format(order, file, subset)
    return found


def _first_format(
    formats: Iterable[DatasetFormat], path: pathlib.Path, subset: str
) -> tuple[DatasetFormat, pathlib.Path] | None:
    return next(((form, found) for form in formats if (found := form.find(path, subset))), None)
