"""``accuracy``: how often a classifier's first guess, or one of its first k, is right (``classifier valid``).

The class of an image is the first of the labels that occurs anywhere in its path, so labels must not be
parts of one another. An image without any counts as wrong.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._typing import StrPath
from ..cfg import Dialect
from ..classifier import leaf_classes, outputs, probabilities
from ..data.data_file import read_data, read_list, read_names
from ..data.labels import Problem, report
from ..errors import DataError
from ..images import resizing
from ..images.prefetch import map_prefetched
from ..images.reading import read_image
from ..inference import engines
from ..network import Network


class View(enum.StrEnum):
    """What of an image the network sees; the outputs of several views are added.

    VALID: the middle, as ``classifier predict``. CROP: the whole, stretched. FULL: the whole, its short side as
    long as the network's width. MULTI: the whole in five sizes, and mirrored. TEN: five parts, and mirrored.
    """

    VALID = "valid"
    CROP = "validcrop"
    FULL = "validfull"
    MULTI = "validmulti"
    TEN = "valid10"


@dataclass(frozen=True)
class Accuracy:
    """Shares (0..1) of the images so far whose class was the first, or among the first ``k``."""

    images: int
    top1: float
    topk: float
    k: int

    def __str__(self) -> str:
        """Darknet's line."""
        return f"{self.images - 1}: top 1: {self.top1:f}, top {self.k}: {self.topk:f}"


def accuracy(
    network: Network,
    images: Sequence[str],
    labels: Sequence[str],
    *,
    k: int = 1,
    view: View | str = View.VALID,
    leaves: Tensor | None = None,
    batch: int = 8,
    workers: int = 2,
    engine: str | engines.Engine = "torch",
    dtype: str = "fp32",
) -> Iterator[Accuracy]:
    """The accuracy after each image, the last being the result.

    ``labels``: words of the images' paths, by class; more than there are classes are left out. ``leaves``: which
    classes of a tree count, see ``leaf_classes``; None: those without children. ``engine``, ``dtype``: see ``engines``.
    Raises DataError, also for an image that cannot be read.
    """
    classes = outputs(network)
    if network.heads:
        raise DataError("the network has detection heads: expected a classifier")
    if len(labels) < classes:
        raise DataError(f"{len(labels)} labels, but the network has {classes} classes")
    if not 1 <= k <= classes:
        raise DataError(f"top: expected 1..{classes}, got {k}")
    targets = [next((n for n, label in enumerate(labels[:classes]) if label in path), -1) for path in images]
    wrong = (path for path, target in zip(images, targets, strict=True) if target < 0)
    report(Problem(path, "none of the labels occurs in this path; counted as wrong") for path in wrong)
    views, run = _views(network, View(view)), engines.create_engine(network, engine, dtype=dtype)

    def read(path: str) -> list[Tensor]:
        return views(resizing.to_tensor(read_image(path, network.shape.channels)))

    loaded, done, first, among = map_prefetched(read, images, workers, depth=2 * max(batch, workers)), 0, 0, 0
    while group := list(itertools.islice(loaded, batch)):
        for probs in _summed(network, run, group, leaves):
            best = probs.argsort(descending=True, stable=True)[:k].tolist()
            first, among = first + (best[0] == targets[done]), among + (targets[done] in best)
            done += 1
            yield Accuracy(done, first / done, among / done, k)


def on_data(network: Network, path: StrPath, *, k: int = 0, **how: Any) -> tuple[int, Iterator[Accuracy]]:
    """How many images the ``valid`` list of a .data file has, and the accuracy after each.

    Its ``labels``, ``top`` (where ``k`` is 0) and ``leaves`` are used; ``how``: what else ``accuracy`` takes.
    Raises DataError.
    """
    options = read_data(path)
    images, labels = read_list(options.file("valid")), read_names(options.file("labels"))
    leaves = leaf_classes(network, options.file("leaves")) if "leaves" in options.values else None
    return len(images), accuracy(network, images, labels, k=k or options.integer("top", 1), leaves=leaves, **how)


def _summed(network: Network, run: engines.Engine, group: Sequence[list[Tensor]], leaves: Tensor | None) -> Tensor:
    """[images, classes]: the outputs of each image's views, added; views of one size go through together."""
    sums = torch.zeros(len(group), outputs(network))
    kept = True if leaves is None else leaves
    places: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for image, views in enumerate(group):
        for x in views:
            places.setdefault(x.shape, []).append((image, x))
    for rows in places.values():
        index = torch.tensor([image for image, _ in rows])
        sums.index_add_(0, index, probabilities(network, torch.stack([x for _, x in rows]), kept, run))
    return sums


def _views(network: Network, view: View) -> Callable[[Tensor], list[Tensor]]:
    """What makes the views of an image [C, H, W]."""
    width, height = network.shape.width, network.shape.height
    if view is View.VALID and network.dialect is Dialect.PJREDDIE:
        return lambda image: [resizing.resize(_square(image), width, height)]
    return {
        View.VALID: lambda image: [resizing.centre_crop(image, width, height)],
        View.CROP: lambda image: [resizing.resize(image, width, height)],
        View.FULL: lambda image: [_short_side(image, width)],
        View.MULTI: lambda image: _mirrored([_short_side(image, side) for side in _SIDES]),
        View.TEN: lambda image: _five(resizing.resize(image, width + _SHIFT, height + _SHIFT), width, height),
    }[view]


_SIDES = (224, 288, 320, 352, 384)
_SHIFT = 32


def _square(image: Tensor) -> Tensor:
    """The middle square of an image."""
    rows, columns = image.shape[1:]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return image[:, top : top + side, left : left + side]


def _short_side(image: Tensor, side: int) -> Tensor:
    """The whole image with a short side of so many pixels (``resize_min``)."""
    rows, columns = image.shape[1:]
    if columns < rows:
        return resizing.resize(image, side, rows * side // columns)
    return resizing.resize(image, columns * side // rows, side)


def _mirrored(views: Sequence[Tensor]) -> list[Tensor]:
    return [*views, *(view.flip(2) for view in views)]


def _five(image: Tensor, width: int, height: int) -> list[Tensor]:
    """Five parts, four of which reach over the edge, which goes on there; of the image and its mirror."""
    made = []
    for one in (image, image.flip(2)):
        for dx, dy in ((-_SHIFT, -_SHIFT), (_SHIFT, -_SHIFT), (0, 0), (-_SHIFT, _SHIFT), (_SHIFT, _SHIFT)):
            down = (torch.arange(height) + dy).clamp(0, one.shape[1] - 1)
            across = (torch.arange(width) + dx).clamp(0, one.shape[2] - 1)
            made.append(one.index_select(1, down).index_select(2, across))
    return made
