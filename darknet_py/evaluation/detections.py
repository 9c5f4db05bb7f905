"""``Detections``: all that a network finds on the images of a data set, as columns.

They are found as Darknet's evaluating commands do it, which is not quite what ``detect`` does: a low
threshold, boxes relative to the image before they are suppressed, and C's order of boxes, on which its
counts depend.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..boxes import RawDetections, batched_nms, undo_letterbox
from ..cfg import Dialect
from ..data.data_file import Dataset, Sample
from ..data.labels import Problem
from ..errors import DataError
from ..images import reading
from ..images.prefetch import ahead
from ..inference import engines
from ..layers import DecodeOptions
from ..network import Network, evaluating

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """A row for each (box, class), by image, in the order in which C walks through them.

    ``image``: [n] place in the data set. ``boxes``: [n, 4] centre and size relative to the image, not cut
    at its edge. ``confidence``: [n] in 0..1. ``classes``: [n]. ``sizes``: [images, 2] width and height in
    pixels, 1 for an image that could not be read. ``problems``: those images. ``seconds``: it took.
    """

    image: Integers
    boxes: Floats
    confidence: Floats
    classes: Integers
    sizes: Integers
    problems: Sequence[Problem] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.confidence)

    def pixels(self, offset: float = 0.0) -> Floats:
        """[n, 4] left, top, right, bottom in pixels, cut to ``offset`` .. width or height."""
        size = np.tile(self.sizes[self.image], 2).astype(np.float32)
        half = self.boxes[:, 2:] / 2
        corners = np.concatenate((self.boxes[:, :2] - half, self.boxes[:, :2] + half), axis=1) * size + offset
        return np.clip(corners, offset, size).astype(np.float32)


class Loaded(NamedTuple):
    """An image as the network's input [channels, height, width], or what is wrong with it."""

    x: Tensor | None
    size: tuple[int, int]
    problem: Problem | None


def collect(
    network: Network,
    dataset: Dataset,
    *,
    threshold: float = 0.005,
    nms: float = 0.45,
    mapping: Tensor | None = None,
    letterbox: bool | None = None,
    in_pixels: bool = False,
    batch: int = 8,
    workers: int = 2,
    engine: str | engines.Run = "torch",
    dtype: str = "fp32",
    progress: bool = True,
) -> Detections:
    """Detect on every image of a data set.

    ``threshold``: objectness and class probability must be above. ``mapping``: numbers [n] of a tree's classes, whose
    places are the classes that are found. ``letterbox`` None: as the cfg says.
    ``in_pixels``: suppress in pixels, as ``detector valid`` does; for the kinds that measure distances this
    differs. ``batch``: images that go through the network together, ``workers``: threads that read them.
    ``engine``, ``dtype``: see ``engines``. ``progress``: a bar on stderr, where that is a terminal.
    An image that cannot be read is a problem, and nothing is found on it. Raises DataError.
    """
    if not network.heads:
        raise DataError("the network has no detection head: expected one that makes boxes")
    started = time.perf_counter()
    if letterbox is None:
        letterbox = network.options.letter_box or network.dialect is Dialect.PJREDDIE
    size = network.shape.width, network.shape.height
    parts: list[tuple[Floats, Floats, Integers]] = []
    sizes, problems = [], []
    which = DecodeOptions(threshold, mapped=False if mapping is None else mapping)
    run = engines.engine(network, engine, dtype=dtype)
    for loaded, decoded in _decoded(run, network, dataset, letterbox, which, batch, workers, progress):
        sizes.append(loaded.size)
        if loaded.problem:
            problems.append(loaded.problem)
        if letterbox and decoded is not None:
            decoded = decoded._replace(boxes=undo_letterbox(decoded.boxes, loaded.size, size))
        parts.append(_rows(decoded, nms, network, loaded.size if in_pixels else (1, 1)))
    counts = [len(confidence) for _, confidence, _ in parts]
    boxes, confidence, classes = (np.concatenate(column) for column in zip(*(parts or [_NOTHING]), strict=True))
    image = np.repeat(np.arange(len(parts)), counts)
    shape = np.array(sizes, np.int64).reshape(-1, 2)
    return Detections(image, boxes, confidence, classes, shape, problems, time.perf_counter() - started)


_NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def _decoded(
    run: engines.Run,
    network: Network,
    dataset: Dataset,
    letterbox: bool,
    which: DecodeOptions,
    batch: int,
    workers: int,
    progress: bool,
) -> Iterator[tuple[Loaded, RawDetections | None]]:
    """Each image with its boxes before suppression, relative to the input."""
    from tqdm import tqdm

    channels, size = network.shape.channels, (network.shape.width, network.shape.height)

    def read(sample: Sample) -> Loaded:
        try:
            image = reading.load(sample.image, channels)
            return Loaded(reading.prepare(image, size, letterbox), (image.shape[1], image.shape[0]), None)
        except DataError as error:
            return Loaded(None, (1, 1), Problem(sample.image, str(error).removeprefix(f"{sample.image}: ")))

    loaded = ahead(read, dataset, workers, depth=2 * max(batch, workers))
    with evaluating(network), tqdm(total=len(dataset), unit=" images", disable=None if progress else True) as bar:
        while group := list(itertools.islice(loaded, batch)):
            inputs = [one.x for one in group if one.x is not None]
            found = iter(decode(network, torch.stack(inputs), which, run) if inputs else ())
            for one in group:
                yield one, None if one.x is None else next(found)
            bar.update(len(group))


def decode(network: Network, x: Tensor, which: DecodeOptions, run: engines.Run | None = None) -> list[RawDetections]:
    """The boxes of all heads, before suppression, for each image of a batch; in the computer's memory.

    ``run``: what computes the outputs in the network's stead, such as its optimised twin.
    """
    with torch.inference_mode():
        outputs = (run or network)(x.to(next(network.parameters()).device))
        size = x.shape[3], x.shape[2]
        heads = [h.decode(out.float(), size, which) for h, out in zip(network.heads, outputs, strict=True)]
        images = [zip(*of_image, strict=True) for of_image in zip(*heads, strict=True)]
        return [RawDetections(*(torch.cat(part).cpu() for part in parts)) for parts in images]


def _rows(
    found: RawDetections | None, nms: float, network: Network, unit: tuple[int, int]
) -> tuple[Floats, Floats, Integers]:
    """What suppression leaves of an image: boxes, confidences and classes, a row for each box and class."""
    if found is None:
        return _NOTHING
    scaled = found._replace(boxes=found.boxes * found.boxes.new_tensor(unit).repeat(2))
    kept = batched_nms(scaled, nms, network.heads[-1].nms_options) if nms else scaled
    order = _as_sorted_by_class(found.probs.numpy())
    probs = kept.probs.numpy()[order]
    box, classes = probs.nonzero()
    return found.boxes.numpy()[order][box], probs[box, classes], classes


def _as_sorted_by_class(probs: Floats) -> Integers:
    """The order that C's suppression leaves boxes in: it sorts them by one class after the other."""
    used = probs[:, probs.any(axis=0)]
    if not used.size:
        return np.arange(len(probs))
    return np.lexsort(-used.T)
