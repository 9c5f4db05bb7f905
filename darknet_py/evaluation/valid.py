"""``detector valid``: detections on the images of a list, written as result files; labels are not read."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import torch
from torch import Tensor

from .._typing import StrPath
from ..data import labels
from ..data.class_names import ClassNames, resolve_class_names
from ..data.data_file import DataFile, read_data_file
from ..data.dataset import Dataset, Sample
from ..errors import DataError
from ..images.limits import MAX_PIXELS
from ..inference import engines
from ..layers import read_map
from ..network import Network
from ..postprocess import require_heads
from ..text_files import read_list
from . import result_files
from .detections import collect
from .result_files import Format

_MIN_SCORE = 0.001
_NMS = 0.6
_MIRRORED_MIN_SCORE = 0.005
_MIRRORED_NMS = 0.45


def write_valid_results(
    network: Network,
    path: StrPath,
    *,
    out: str = "",
    batch: int = 8,
    workers: int = 2,
    max_pixels: int = MAX_PIXELS,
    progress: bool = True,
    mirrored: bool = False,
) -> list[pathlib.Path]:
    """Detect on the ``valid`` list of a .data file and write result files (``validate_detector``).

    Detections have a score above 0.001 and pass NMS at an IoU of 0.6 in pixels. With ``map=`` in the .data file, a
    file of numbers of a tree's classes, one a line, only these classes are reported, numbered by the line.

    Args:
        network: a detector.
        path: the .data file; ``eval=`` says the format, ``results=`` the folder.
        out: file name instead of the format's default.
        batch: images per forward pass.
        workers: threads that read images.
        max_pixels: refuse image files with more pixels.
        progress: show a progress bar on stderr if that is a terminal.
        mirrored: decode the mean of the maps for an image and for its mirror image, as pjreddie's fork is meant to
            (``validate_detector_flip``): images are letterboxed, scores above 0.005, NMS at 0.45. The network has the
            dialect pjreddie.

    Returns:
        The files.

    Raises:
        DataError: the network has no detection head, or a file cannot be read or written.
    """
    options = read_data_file(path)
    kind = options.values.get("eval", "voc")
    kind = kind if kind in set(Format) else "voc"
    names, mapping = _reported_classes(network, options)
    images = read_list(options.get_path(options.list_key("valid")))
    dataset = _dataset(images, names, options.path)
    detections = collect(
        network,
        dataset,
        threshold=_MIRRORED_MIN_SCORE if mirrored else _MIN_SCORE,
        nms=_MIRRORED_NMS if mirrored else _NMS,
        letterbox=True if mirrored else None,
        engine=_MirroredMean(network) if mirrored else "torch",
        mapping=mapping,
        nms_in_pixels=True,
        batch=batch,
        workers=workers,
        max_pixels=max_pixels,
        progress=progress,
    )
    labels.log_problems(detections.problems)
    return result_files.write(dataset, detections, kind, options.values.get("results", "results"), out)


class _MirroredMean:
    """An engine: the mean of the maps for images and for mirror images, as ``avg_flipped_yolo`` is meant.

    C takes other planes for those of x, negates x instead of replacing it by 1 - x, and writes beyond its list of
    boxes. ``[detection]``, whose output C does not average, gives that of the image itself.
    """

    def __init__(self, network: Network) -> None:
        self._run = engines.create_engine(network, "torch")
        self._heads = require_heads(network)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``inference.engines.Engine``."""
        outputs = zip(self._heads, self._run(x), self._run(x.flip(3)), strict=True)
        return [(y + _unmirror(mirror, len(head.anchors))) / 2 if head.anchors else y for head, y, mirror in outputs]


def _unmirror(output: Tensor, anchors: int) -> Tensor:
    """The map of a mirror image, [batch, channels, height, width], mirrored back: x, the first of each anchor, too."""
    entries = output.flip(3).unflatten(1, (anchors, -1))
    return torch.cat((1 - entries[:, :, :1], entries[:, :, 1:]), dim=2).flatten(1, 2)


def write_list_results(
    network: Network,
    path: StrPath,
    names: ClassNames,
    kind: Format | str,
    *,
    threshold: float,
    nms: float,
    max_pixels: int = MAX_PIXELS,
) -> list[pathlib.Path]:
    """Detect on a list of images and write result files into results/, pixels counted from 0 (``validate_yolo``).

    Args:
        network: a detector.
        path: the list.
        names: class names.
        kind: the format.
        threshold: lowest score.
        nms: IoU threshold of NMS in pixels.
        max_pixels: refuse image files with more pixels.

    Returns:
        The files.

    Raises:
        DataError: the network has no detection head, or a file cannot be read or written.
    """
    classes = require_heads(network)[-1].classes
    dataset = _dataset(read_list(path), resolve_class_names(names, classes), str(path))
    detections = collect(network, dataset, threshold=threshold, nms=nms, nms_in_pixels=True, max_pixels=max_pixels)
    labels.log_problems(detections.problems)
    return result_files.write(dataset, detections, kind, first_pixel=0)


def _dataset(images: Sequence[str], names: Sequence[str], source: str) -> Dataset:
    """Images without labels."""
    samples = [Sample(image, labels.empty_targets(), labels.empty_targets()) for image in images]
    return Dataset(samples, tuple(names), source=source)


def _reported_classes(network: Network, options: DataFile) -> tuple[Sequence[str], Tensor | None]:
    """Names of the reported classes, and their numbers in the network [n] where ``map=`` selects them."""
    head = require_heads(network)[-1]
    classes = head.classes
    names_file = options.get_path("names") if "names" in options.values else None
    if "map" not in options.values:
        return resolve_class_names(names_file, classes), None
    tree = head.tree
    if tree is None:
        raise DataError(f"{options.path}: map: expected a network whose head has a class tree")
    path = options.get_path("map")
    mapping = read_map(pathlib.Path(path), classes)
    names = tree.names if names_file is None else resolve_class_names(names_file, classes, exact=False)
    if len(names) == classes:
        names = [names[number] for number in mapping.tolist()]
    if len(names) != len(mapping):
        raise DataError(
            f"{names_file}: {len(names)} class names: expected {len(mapping)}, as many as {path} has lines, "
            f"or {classes}, as many as the network has classes"
        )
    return names, mapping
