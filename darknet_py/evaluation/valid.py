"""``valid``: what is found on the images of a list, as result files (``detector valid``); labels are not read."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from torch import Tensor

from .._typing import StrPath
from ..data import labels
from ..data.class_names import resolve_class_names
from ..data.data_file import Dataset, Options, Sample, read_data, read_list
from ..errors import DataError
from ..layers import read_map
from ..network import Network
from ..postprocess import require_heads
from . import result_files
from .detections import collect
from .result_files import Format


def valid(
    network: Network, path: StrPath, *, out: str = "", batch: int = 8, workers: int = 2, progress: bool = True
) -> list[pathlib.Path]:
    """Detect on the ``valid`` list of a .data file and write the files that ``eval=`` says; return them.

    Boxes above 0.001, suppressed at 0.6 in pixels, into the folder that ``results=`` says. ``out``: instead of
    the files' default name. ``map=``: a file of numbers of a tree's classes, one a line; boxes have those classes
    alone, numbered by the line. Raises DataError.
    """
    options = read_data(path)
    kind = options.values.get("eval", "voc")
    kind = kind if kind in set(Format) else "voc"
    names, mapping = _classes(network, options)
    images = read_list(options.file("valid" if "valid" in options.values else "train"))
    samples = [Sample(image, labels.none(), labels.none()) for image in images]
    dataset = Dataset(samples, tuple(names), source=options.path)
    found = collect(
        network,
        dataset,
        threshold=0.001,
        nms=0.6,
        mapping=mapping,
        nms_in_pixels=True,
        batch=batch,
        workers=workers,
        progress=progress,
    )
    labels.report(found.problems)
    return result_files.write(dataset, found, kind, options.values.get("results", "results"), out)


def _classes(network: Network, options: Options) -> tuple[Sequence[str], Tensor | None]:
    """The names of the classes that are reported, and their numbers in the network where ``map=`` chooses them."""
    classes = require_heads(network)[-1].classes
    given = options.file("names") if "names" in options.values else None
    if "map" not in options.values:
        return resolve_class_names(given, classes), None
    tree = network.heads[-1].tree
    if tree is None:
        raise DataError(f"{options.path}: map: expected a network whose head has a tree, which the map numbers")
    path = options.file("map")
    mapping = read_map(pathlib.Path(path), classes)
    words = tree.names if given is None else resolve_class_names(given, classes, exact=False)
    if len(words) == classes:
        words = [words[number] for number in mapping.tolist()]
    if len(words) != len(mapping):
        raise DataError(
            f"{given}: {len(words)} class names: expected {len(mapping)}, as many as {path} has lines, "
            f"or {classes}, as many as the network has classes"
        )
    return words, mapping
