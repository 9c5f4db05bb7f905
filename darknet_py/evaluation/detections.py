"""``Detections``: the detections of a network on all images of a data set, as columns.

They follow Darknet's evaluation commands (``validate_detector_map``, ``validate_detector``) where these differ from
``detector test``: a low score threshold, optionally NMS in pixels, and C's order of boxes, on which its TP and FP
depend.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..boxes import NMSKind, RawDetections
from ..data.dataset import Dataset, Sample
from ..data.labels import Problem
from ..distributed import ProcessGroup
from ..errors import DataError
from ..images import resizing
from ..images.limits import MAX_PIXELS
from ..images.prefetch import map_prefetched, take_batches
from ..images.reading import ImageArray, read_image
from ..inference import engines
from ..inference.exported_model import form_of
from ..layers import DecodeOptions
from ..network import Network, evaluating, fresh_state
from ..postprocess import postprocess_outputs, require_heads, uses_letterbox

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """A row for each (box, class), sorted by image, within an image in C's order.

    Attributes:
        image: int64 [n], index of the image in the data set.
        boxes: float32 [n, 4], (cx, cy, w, h) relative to the image, not clipped to it.
        confidence: float32 [n] in 0..1.
        classes: int64 [n].
        sizes: int64 [images, 2], width and height in pixels; 1, 1 for an image that could not be read.
        problems: the images that could not be read.
        seconds: duration of the detection.
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
        """Return boxes as float32 [n, 4], (x1, y1, x2, y2) in pixels, clipped to ``offset`` .. width or height."""
        size = np.tile(self.sizes[self.image], 2).astype(np.float32)
        half = self.boxes[:, 2:] / 2
        corners = np.concatenate((self.boxes[:, :2] - half, self.boxes[:, :2] + half), axis=1) * size + offset
        return np.clip(corners, offset, size).astype(np.float32)


def collect(
    network: Network,
    dataset: Dataset,
    *,
    threshold: float = 0.005,
    nms: float = 0.45,
    nms_kind: NMSKind | str | None = None,
    mapping: Tensor | None = None,
    letterbox: bool | None = None,
    exif: bool = False,
    max_pixels: int = MAX_PIXELS,
    nms_in_pixels: bool = False,
    batch: int = 8,
    workers: int = 2,
    engine: str | engines.Engine = engines.DEFAULT,
    dtype: str = "fp32",
    progress: bool = True,
    process_group: ProcessGroup | None = None,
    reload: Callable[[], Network] | None = None,
) -> Detections:
    """Detect on every image of a data set.

    Args:
        network: a detector.
        dataset: the images; labels are not used.
        threshold: objectness and class probability must be above this, 0..1.
        nms: IoU threshold of class-wise NMS, 0..1; 0 disables it.
        nms_kind: kind of NMS; None: ``nms_kind=`` of the last head.
        mapping: int64 [n], the numbers of a tree's classes to report; row i is reported as class i.
        letterbox: keep the images' aspect ratio; None: as the cfg and dialect say.
        exif: rotate images as their EXIF orientation says.
        max_pixels: refuse image files with more pixels.
        nms_in_pixels: apply NMS to boxes in pixels, as ``detector valid`` does; this changes the result of kinds of
            NMS that use distances.
        batch: images per forward pass.
        workers: threads that read images.
        engine: inference engine, see ``inference.engines``.
        dtype: precision of the engine, see ``inference.engines``.
        progress: show a progress bar on stderr if that is a terminal.
        process_group: processes that share the work, each of which calls this and gets all detections; only the main
            one shows progress.
        reload: loads the network again, if nobody else uses it, see ``create_engine``.

    Returns:
        The detections. An image that cannot be read has none and is listed in ``problems``.

    Raises:
        DataError: the network has no detection head.
    """
    require_heads(network)
    started = time.perf_counter()
    letterbox = uses_letterbox(network, letterbox)
    options = DecodeOptions(threshold, class_map=False if mapping is None else mapping)
    run = engines.create_engine(network, engine, dtype=dtype, reload=reload)
    group = process_group or ProcessGroup()
    progress = progress and group.is_main
    shards = [group.indices(len(dataset), batch, is_sequence=network.stateful, rank=r) for r in range(group.world_size)]
    part = replace(dataset, samples=[dataset.samples[index] for index in shards[group.rank]])
    size = network.shape.width, network.shape.height

    def detect(loaded: Sequence[_LoadedInput]) -> list[RawDetections]:
        x = torch.stack([item.x for item in loaded if item.x is not None])
        with torch.inference_mode():
            return postprocess_outputs(
                network,
                run(x.to(next(network.parameters()).device, torch.float32)),
                size,
                options,
                nms=nms,
                nms_kind=nms_kind,
                image_sizes=[item.size for item in loaded],
                letterbox=letterbox,
                nms_in_pixels=nms_in_pixels,
                darknet_order=True,
                form=form_of(run),
            )

    columns = [_NO_ROWS]
    sizes = []
    problems = []
    counts = []
    with evaluating(network), fresh_state(network):
        read = functools.partial(read_image, channels=network.shape.channels, exif=exif, max_pixels=max_pixels)
        for loaded_batch in _batches(part, read, size, letterbox, batch, workers, progress):
            readable = [item for item in loaded_batch if item.x is not None]
            detections = iter(detect(readable) if readable else ())
            for item in loaded_batch:
                rows = _NO_ROWS if item.x is None else _rows(next(detections))
                columns.append(rows)
                counts.append(len(rows[1]))
                sizes.append(item.size)
                if item.problem:
                    problems.append(item.problem)
    boxes, confidence, classes = (np.concatenate(column) for column in zip(*columns, strict=True))
    image = np.repeat(np.arange(len(counts)), counts)
    shape = np.array(sizes, np.int64).reshape(-1, 2)
    own = Detections(image, boxes, confidence, classes, shape, problems, time.perf_counter() - started)
    return own if group.world_size == 1 else merge_shards(dataset, group.all_gather(own), shards)


def merge_shards(dataset: Dataset, parts: Sequence[Detections], shards: Sequence[Sequence[int]]) -> Detections:
    """Merge detections on parts of a data set; ``shards``: for each part, the numbers of its images, ascending."""
    numbers = [np.array(shard, np.int64) for shard in shards]
    image = np.concatenate([shard[part.image] for shard, part in zip(numbers, parts, strict=True)])
    rows = image.argsort(kind="stable")
    images = np.concatenate(numbers).argsort()
    places = {sample.image: index for index, sample in enumerate(dataset)}
    return Detections(
        image[rows],
        np.concatenate([part.boxes for part in parts])[rows],
        np.concatenate([part.confidence for part in parts])[rows],
        np.concatenate([part.classes for part in parts])[rows],
        np.concatenate([part.sizes for part in parts])[images],
        sorted((one for part in parts for one in part.problems), key=lambda one: places[one.location]),
        max(part.seconds for part in parts),
    )


def select_classes(dataset: Dataset, detections: Detections, numbers: Sequence[int]) -> tuple[Dataset, Detections]:
    """Return the targets and detections of some classes, renumbered in the order of ``numbers``."""
    new_numbers = {number: index for index, number in enumerate(numbers)}
    categories = tuple(dataset.categories[number] for number in new_numbers) if dataset.categories else ()
    names = [dataset.names[number] for number in new_numbers]
    kept = np.isin(detections.classes, list(new_numbers))
    selected = replace(
        detections,
        image=detections.image[kept],
        boxes=detections.boxes[kept],
        confidence=detections.confidence[kept],
        classes=np.array([new_numbers[number] for number in detections.classes[kept].tolist()], np.int64),
    )
    return replace(dataset.map_classes(new_numbers, names), categories=categories), selected


class _LoadedInput(NamedTuple):
    """An image as the network's input [channels, height, width] and its size in pixels, or why it cannot be read."""

    x: Tensor | None
    size: tuple[int, int]
    problem: Problem | None


def _batches(
    dataset: Dataset,
    read_file: Callable[[str], ImageArray],
    size: tuple[int, int],
    letterbox: bool,
    batch: int,
    workers: int,
    progress: bool,
) -> Iterator[list[_LoadedInput]]:
    """Read the images of a data set, in batches, as inputs of ``size``, (width, height) in pixels."""
    from tqdm import tqdm

    def read(sample: Sample) -> _LoadedInput:
        try:
            image = read_file(sample.image)
            return _LoadedInput(resizing.prepare_input(image, size, letterbox), (image.shape[1], image.shape[0]), None)
        except DataError as error:
            problem = Problem(sample.image, str(error).removeprefix(f"{sample.image}: "))
            return _LoadedInput(None, (1, 1), problem)

    loaded = map_prefetched(read, dataset, workers, depth=2 * max(batch, workers))
    with tqdm(total=len(dataset), unit=" images", disable=None if progress else True) as bar:
        for group in take_batches(loaded, batch):
            yield group
            bar.update(len(group))


_NO_ROWS = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def _rows(detections: RawDetections) -> tuple[Floats, Floats, Integers]:
    """Boxes, confidences and classes of an image, a row for each box and class whose probability is not 0."""
    probs = detections.probs.cpu().numpy()
    box, classes = probs.nonzero()
    return detections.boxes.cpu().numpy()[box], probs[box, classes], classes
