"""``Classifier``: images in, class probabilities out, as Darknet's ``classifier predict``.

AlexeyAB's Darknet scales the short side to the network's width and takes the centre crop; pjreddie's letterboxes. With
a class tree, the probability of a class is the product of the conditional ones on its path from the root
(``hierarchy_predictions``).
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, overload

import torch
from torch import Tensor

from ._typing import StrPath
from .cfg import Dialect
from .data import data_file
from .data.class_names import ClassNames, resolve_class_names
from .data.labels import Problem, log_problems
from .errors import DataError
from .images import resizing
from .images.limits import MAX_PIXELS
from .images.prefetch import catch_errors, drop_errors, restore_errors, take_batches, without_errors
from .images.reading import ImageArray, ImageSource, read_image
from .inference import engines
from .inference.exported_model import ModelSource, open_model
from .inference.predictor import Predictor
from .messages import describe_text
from .network import Network, evaluating

SourceT = TypeVar("SourceT", bound=ImageSource)


@dataclass(frozen=True, eq=False)
class Classification:
    """The class probabilities of an image.

    Attributes:
        probs: float [classes] in 0..1.
        names: name of each class.
        path: path of the image, or an empty string.
        parents: with a class tree, the name of each class's parent, ``Root`` for none.
    """

    probs: Tensor
    names: Sequence[str]
    path: str = ""
    parents: Sequence[str] = ()

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """Return number, name and probability of the ``k`` most probable classes; ties by number."""
        order = self.probs.argsort(descending=True, stable=True)[:k].tolist()
        return [(number, self.names[number], float(self.probs[number])) for number in order]

    def to_text(self, k: int = 5, dialect: Dialect | str = Dialect.ALEXEYAB) -> str:
        """Format Darknet's lines of the ``k`` most probable classes: ``dog: 0.84``, pjreddie's ``84.00%: dog``."""
        rows = self.top(k)
        if Dialect(dialect) is Dialect.PJREDDIE:
            return "\n".join(f"{100 * prob:5.2f}%: {name}" for _, name, prob in rows)
        if self.parents:
            return "\n".join(f"{n}, {name}: {prob:f}, parent: {self.parents[n]} " for n, name, prob in rows)
        return "\n".join(f"{name}: {prob:f}" for _, name, prob in rows)

    def summary(self, k: int = 5) -> dict[str, Any]:
        """Return the path and the ``k`` most probable classes as plain values: class, name, probability."""
        rows = [{"class": n, "name": name, "probability": round(prob, 6)} for n, name, prob in self.top(k)]
        return {"path": self.path, "classes": rows}

    def to_json(self, k: int = 5) -> str:
        """Format ``summary(k)`` as JSON."""
        return json.dumps(self.summary(k), ensure_ascii=False)

    def __str__(self) -> str:
        return self.to_text()


class _Loaded(NamedTuple):
    """An image's path and the network's input, float32 [C, height, width]."""

    path: str
    input: Tensor


class Classifier(Predictor):
    """Classify images with a network that has no detection heads.

    With recurrent layers, images are frames of a sequence, see ``Detector``.

    Args:
        network: a network with weights, see ``network.unwrap``; its mode is restored after each call. Or a name, a
            ``loading.NetworkLoader`` or an exported file, see ``Detector``.
        names: class names, as a file or a sequence; names beyond the number of classes are ignored.
        letterbox: letterbox the image instead of taking its centre crop; None: as the dialect does.
        leaves: with a class tree, set the probability of classes that have children to 0; None: as the dialect does.
        batch: images per forward pass.
        engine: inference engine, see ``inference.engines``.
        dtype: precision of the engine, see ``inference.engines``.
        exif: rotate images as their EXIF orientation says.
        max_pixels: refuse image files with more pixels.

    Raises:
        DataError: the network has detection heads, ``batch`` is not positive, or there are too few names.
    """

    def __init__(
        self,
        network: ModelSource,
        *,
        names: ClassNames = None,
        letterbox: bool | None = None,
        leaves: bool | None = None,
        batch: int = 1,
        engine: str | engines.Engine = engines.DEFAULT,
        dtype: str = "fp32",
        exif: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        model = open_model(network, engine, letterbox)
        network, file, letterbox = model.network, model.file, model.letterbox
        require_classifier(network)
        if batch < 1:
            raise DataError(f"batch: expected 1 or more, got {batch}")
        pjreddie = network.dialect is Dialect.PJREDDIE
        self._open(model, dtype)
        self.batch_size = batch
        given = (network.names or None) if names is None and file is not None else names
        self.names = _select_names(given, num_classes(network))
        self.letterbox = pjreddie if letterbox is None else letterbox
        self.leaves = pjreddie if leaves is None else leaves
        self.read_image = functools.partial(
            read_image, channels=network.shape.channels, exif=exif, max_pixels=max_pixels
        )
        tree = network.class_tree
        parents = tree.parent.tolist() if tree else ()
        self.parents = [self.names[parent] if parent >= 0 else "Root" for parent in parents]

    @overload
    def __call__(  # type: ignore[overload-overlap]  # str and bytes are sequences, too: each is one image
        self, source: ImageSource
    ) -> Classification: ...
    @overload
    def __call__(self, source: Sequence[SourceT]) -> list[Classification]: ...
    def __call__(self, source: ImageSource | Sequence[SourceT]) -> Classification | list[Classification]:
        """Classify one image or a list of images.

        Args:
            source: an image, see ``images.reading.read_image``: a path, a URL, bytes, a PIL image, an array [height,
                width, 3] of uint8 in RGB order, ...; or a sequence of these.

        Returns:
            The classification of the image, or a list with that of each image.

        Raises:
            DataError: an image cannot be read.
        """
        if isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray | memoryview):
            return list(self.stream(source))
        return next(drop_errors(self._classify([self._load(source)]), None))

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        workers: int | None = None,
        on_error: Callable[[DataError], object] | None = None,
    ) -> Iterator[Classification]:
        """Yield the classification of each image, computed in batches of ``batch`` images.

        Args:
            sources: images, see ``__call__``.
            workers: threads that read images, see ``Detector.stream``.
            on_error: called in its place with the error of an image that cannot be read, which has no result; None: the
                error is raised.
        """
        self.reset()
        load = catch_errors(self._load)
        batches = self._compute_batches(load, self._classify, sources, workers, sys.maxsize)
        with contextlib.closing(batches):
            for classified in batches:
                yield from drop_errors(classified, on_error)

    def _classify(self, images: Sequence[_Loaded | DataError]) -> list[Classification | DataError]:
        """Classify batches of images. Where one could not be read, there is a gap in its batch, and its error."""
        classified: list[Classification | DataError] = []
        for batch in take_batches(images, self.batch_size):
            results: list[Classification] = []
            if loaded := without_errors(batch):
                x = torch.stack([image.input for image in loaded])
                rows = predict_probabilities(self._network, x, self.leaves, self.run)
                results = [
                    Classification(probs, self.names, image.path, self.parents)
                    for image, probs in zip(loaded, rows, strict=True)
                ]
            classified += restore_errors(batch, results)
        return classified

    def _load(self, source: ImageSource) -> _Loaded:
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
        image = self.read_image(source)
        try:
            return _Loaded(path, self.prepare(image))
        except DataError as error:
            raise DataError(f"{path or 'image'}: {error}") from error

    def prepare(self, image: ImageArray) -> Tensor:
        """Bring an image, uint8 [H, W, C], to the network's input, float [C, height, width] in 0..1."""
        fit = resizing.letterbox_image if self.letterbox else resizing.centre_crop
        return fit(resizing.to_tensor(image), self._network.shape.width, self._network.shape.height)


def require_classifier(network: Network) -> None:
    """Raise DataError if the network has detection heads."""
    if network.heads:
        raise DataError("the network has detection heads: expected a classifier (or use Detector)")


def num_classes(network: Network) -> int:
    """Return the number of classes of a classifier."""
    return math.prod(network[-1].shape)


def _select_names(names: ClassNames, classes: int) -> list[str]:
    """Return the first ``classes`` names of a file or sequence. Raises DataError if there are fewer."""
    resolved = resolve_class_names(names, classes, exact=False)
    return resolved[:classes] if len(resolved) >= classes else resolve_class_names(names, classes)


def read_leaf_classes(network: Network, path: StrPath) -> Tensor:
    """Read which classes of a tree are leaves from a file of their names, one a line (``change_leaves``).

    Names that are not in the tree are reported.

    Args:
        network: a classifier with a class tree.
        path: the file.

    Returns:
        bool [classes].

    Raises:
        DataError: the network has no class tree, or none of the names is in it.
    """
    tree = network.class_tree
    file = os.fspath(path)
    if tree is None:
        raise DataError(f"{file}: leaves need a class tree: expected a network whose softmax layer has tree=")
    names = data_file.read_names(file)
    known = set(tree.names)
    log_problems(
        Problem(f"{file}:{line}", f"expected a class of the tree, found {describe_text(name)}; left out")
        for line, name in enumerate(names, start=1)
        if name not in known
    )
    leaves = known.intersection(names)
    if not leaves:
        raise DataError(f"{file}: none of its {len(names)} lines is a class of the tree ({tree.names[0]}, ...)")
    return torch.tensor([name in leaves for name in tree.names])


def predict_probabilities(
    network: Network, x: Tensor, leaves: bool | Tensor = False, run: engines.Engine | None = None
) -> Tensor:
    """Compute class probabilities; with a class tree the unconditional ones.

    Args:
        network: a classifier.
        x: float [batch, channels, height, width] in 0..1.
        leaves: with a class tree, set the probability of classes that have children to 0; bool [classes]: of classes
            that are not these leaves.
        run: engine that computes the outputs; None: the network itself.

    Returns:
        float32 [batch, classes] on the CPU.
    """
    device = next(network.parameters(), x).device
    with torch.inference_mode(), evaluating(network):
        out: Tensor = (run or network.predict)(x.to(device, torch.float32))[-1].float().flatten(1).cpu()
    tree = network.class_tree
    if tree is None:
        return out
    probs = tree.absolute(out)
    if isinstance(leaves, Tensor):
        return probs * leaves
    return probs * tree.leaves if leaves else probs
