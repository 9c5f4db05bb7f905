"""``Classifier``: images in, the most probable classes out, as Darknet's ``classifier predict`` does it.

AlexeyAB scales the short side to the network's width and cuts the middle out; pjreddie letterboxes. A network
with a tree multiplies probabilities along the path to each class.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from ._typing import StrPath
from .cfg import Dialect
from .data import data_file
from .data.class_names import ClassNames, resolve_class_names
from .data.labels import Problem, report
from .errors import DataError
from .images import resizing
from .images.reading import ImageArray, ImageSource, read_image
from .inference import engines
from .network import Network, evaluating


@dataclass(frozen=True, eq=False)
class Classification:
    """The classes of an image: ``probs`` [classes], their ``names``, the image's ``path``.

    ``parents``: in a tree, the name of each class's parent, ``Root`` for none.
    """

    probs: Tensor
    names: Sequence[str]
    path: str = ""
    parents: Sequence[str] = ()

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """The ``k`` most probable classes: number, name, probability; of equals the lower number first."""
        order = self.probs.argsort(descending=True, stable=True)[:k].tolist()
        return [(number, self.names[number], float(self.probs[number])) for number in order]

    def to_text(self, k: int = 5, dialect: Dialect | str = Dialect.ALEXEYAB) -> str:
        """Darknet's lines: ``dog: 0.84``; pjreddie's ``84.00%: dog``."""
        rows = self.top(k)
        if Dialect(dialect) is Dialect.PJREDDIE:
            return "\n".join(f"{100 * chance:5.2f}%: {name}" for _, name, chance in rows)
        if self.parents:
            return "\n".join(f"{n}, {name}: {chance:f}, parent: {self.parents[n]} " for n, name, chance in rows)
        return "\n".join(f"{name}: {chance:f}" for _, name, chance in rows)

    def summary(self, k: int = 5) -> dict[str, Any]:
        """The path and the ``k`` most probable classes as plain values: class, name, probability."""
        rows = [{"class": n, "name": name, "probability": round(prob, 6)} for n, name, prob in self.top(k)]
        return {"path": self.path, "classes": rows}

    def to_json(self, k: int = 5) -> str:
        """``summary(k)`` as JSON text."""
        return json.dumps(self.summary(k), ensure_ascii=False)

    def __str__(self) -> str:
        return self.to_text()


class Classifier:
    """Names what an image shows, with a network that has no detection heads.

    ``names``: a file or sequence of class names, more than there are outputs being an error. ``letterbox``:
    keep the whole image instead of its middle; None: as the dialect does. ``leaves``: in a tree, classes
    that have children are 0. ``batch``: images that go through the network together. ``engine`` and ``dtype``: what
    computes them, see ``engines``.
    """

    def __init__(
        self,
        network: Network,
        *,
        names: ClassNames = None,
        letterbox: bool | None = None,
        leaves: bool | None = None,
        batch: int = 1,
        engine: str | engines.Engine = "torch",
        dtype: str = "fp32",
    ) -> None:
        if network.heads:
            raise DataError("the network has detection heads: expected a classifier (or use Detector)")
        if batch < 1:
            raise DataError(f"batch: expected 1 or more, got {batch}")
        pjreddie = network.dialect is Dialect.PJREDDIE
        self.network, self.batch_size = network, batch
        self.names = class_names(names, num_classes(network))
        self.letterbox = pjreddie if letterbox is None else letterbox
        self.leaves = pjreddie if leaves is None else leaves
        tree = network.class_tree
        parents = tree.parent.tolist() if tree else ()
        self.engine, self.dtype = engine, dtype
        self.parents = [self.names[parent] if parent >= 0 else "Root" for parent in parents]

    @functools.cached_property
    def run(self) -> engines.Engine:
        """What computes the outputs, made at its first use."""
        return engines.create_engine(self.network, self.engine, dtype=self.dtype)

    @overload
    def __call__(self, source: ImageSource) -> Classification: ...
    @overload
    def __call__(self, source: list[ImageSource]) -> list[Classification]: ...
    def __call__(self, source: ImageSource | list[ImageSource]) -> Classification | list[Classification]:
        """Classes of one image (a path, a PIL image or an array [height, width, 3] of uint8) or of a list.

        Raises DataError for an image that cannot be read.
        """
        if isinstance(source, list):
            return list(self.stream(source))
        return next(self.stream([source]))

    def stream(self, sources: Iterable[ImageSource]) -> Iterator[Classification]:
        """Classifications one by one, worked out ``batch`` images at a time."""
        group: list[ImageSource] = []
        for source in sources:
            group.append(source)
            if len(group) == self.batch_size:
                yield from self._group(group)
                group = []
        if group:
            yield from self._group(group)

    def _group(self, sources: Sequence[ImageSource]) -> Iterator[Classification]:
        x = torch.stack([self.prepare(read_image(source, self.network.shape.channels)) for source in sources])
        for source, probs in zip(sources, probabilities(self.network, x, self.leaves, self.run), strict=True):
            path = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
            yield Classification(probs, self.names, path, self.parents)

    def prepare(self, image: ImageArray) -> Tensor:
        """An image [H, W, C] of uint8 as the network's input [C, height, width]."""
        fit = resizing.letterbox_image if self.letterbox else resizing.centre_crop
        return fit(resizing.to_tensor(image), self.network.shape.width, self.network.shape.height)


def num_classes(network: Network) -> int:
    """Number of classes of a classifier."""
    return math.prod(network[-1].shape)


def class_names(names: ClassNames, classes: int) -> list[str]:
    """The first ``classes`` names of a file or sequence. Raises DataError where there are fewer."""
    words = resolve_class_names(names, classes, exact=False)
    return words[:classes] if len(words) >= classes else resolve_class_names(names, classes)


def leaf_classes(network: Network, names: StrPath) -> Tensor:
    """[classes] whether each is a leaf by a file of the leaves' names, one a line (``change_leaves``).

    A name that the tree has not is reported. Raises DataError where the network has no tree, or no leaf is left.
    """
    tree, path = network.class_tree, os.fspath(names)
    if tree is None:
        raise DataError(f"{path}: leaves are of a tree: expected a network whose softmax layer has tree=")
    known, words = set(tree.names), data_file.read_names(path)
    report(
        Problem(f"{path}:{line}", f"{word!r} is no class of the tree; left out")
        for line, word in enumerate(words, start=1)
        if word not in known
    )
    found = set(words) & known
    if not found:
        raise DataError(f"{path}: none of its {len(words)} lines is a class of the tree ({tree.names[0]}, ...)")
    return torch.tensor([name in found for name in tree.names])


def probabilities(
    network: Network, x: Tensor, leaves: bool | Tensor = False, run: engines.Engine | None = None
) -> Tensor:
    """[batch, classes] in the computer's memory; of a tree the plain ones.

    ``leaves``: 0 where a class has children, or is not one of these leaves [classes]. ``run``: what computes the
    outputs in the network's stead.
    """
    with torch.inference_mode(), evaluating(network):
        out: Tensor = (run or network)(x.to(next(network.parameters()).device))[-1].float().flatten(1).cpu()
    tree = network.class_tree
    if tree is None:
        return out
    plain: Tensor = tree.cpu().absolute(out)
    if isinstance(leaves, Tensor):
        return plain * leaves
    return plain * (tree.child < 0) if leaves else plain
