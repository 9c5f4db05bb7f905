"""``Loader``: the batches of a training run, loaded and augmented by threads while the network computes.

    for batch in batches.create_detection_loader(network, load_dataset("voc.data", "train"), seed=1):
        cost = trainer.step(batch.pairs)

A batch depends on the seed and the number of the iteration only, so nothing else is needed to resume. An image that
cannot be read is reported once, and another one is drawn in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..augmentation.geometry import Size
from ..data.labels import Problem
from ..errors import ConfigError, DataError
from ..images.limits import MAX_PIXELS
from ..images.prefetch import map_prefetched
from ..images.reading import ImageArray, read_image
from ..messages import get_logger
from .sampling import Plan

_log = get_logger(__name__)
_MAX_UNREADABLE = 100  # images in a row

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One training image to make: iteration, index in the iteration, size, and whether several images are mixed."""

    iteration: int
    index: int
    size: Size
    mixed: bool


class Example(NamedTuple):
    """A training image, float32 [channels, height, width] in 0..1, its target, and the files it was made from."""

    image: Array
    target: Array
    images: tuple[str, ...]


class Batch(NamedTuple):
    """The data of one iteration.

    Attributes:
        iteration: Number of updates before this one.
        size: Width and height of the images.
        pairs: For every mini-batch its images, float [batch, channels, height, width] in 0..1, and their targets: a
            list of tensors [n, 5] (cx, cy, w, h relative to the image, class), or one [batch, classes].
        images: For every mini-batch and image the files that it was made from.
    """

    iteration: int
    size: Size
    pairs: list[tuple[Tensor, list[Tensor] | Tensor]]
    images: list[list[tuple[str, ...]]]


class Batches(Protocol):
    """Where a run's batches come from; ``Loader`` is one. ``iteration``: the next batch's."""

    iteration: int

    def __iter__(self) -> Iterator[Batch]: ...


class Source(Protocol):
    """Images and their targets."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What is missing or invalid in the labels."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> str:
        """The file of an image."""

    def target(self, index: int) -> Array:
        """Its objects [n, 5] or classes [classes]."""


class Maker(Protocol):
    """Makes a training image from one or several images."""

    def parts(self, mixed: bool) -> int:
        """Number of images that are needed."""

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        """Augment images to one training example.

        Args:
            job: What to make.
            sources: The images, uint8 [height, width, channels], and their targets, float32 [n, 5] or [n, 6] of
                cx, cy, w, h, class, track relative to the image; for a classifier [classes].

        Returns:
            The image, float32 [channels, height, width] in 0..1, and its targets in the same form.
        """


class Loader:
    """Batches by a network's ``batch``, ``subdivisions`` and size.

    Iterating again continues; leaving the loop, closing the iterator or an error ends the threads.

    Args:
        plan: Which images are drawn.
        source: The images.
        maker: Augments them.
        channels: Channels of the network's input.
        iteration: The first batch's.
        until: Iteration to stop before; None: never.
        workers: Number of threads; 0: none.
        exif: Rotate images as their EXIF orientation says.
        max_pixels: Refuse image files with more pixels.
        rank: Number of this process, which takes its consecutive part of every mini-batch.
        world_size: Number of processes.

    Attributes:
        iteration: The next batch's; set it to continue from there.
        problems: Of the labels.

    Raises:
        DataError: The source is empty.
        ConfigError: ``world_size`` does not divide the mini-batches.
    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        maker: Maker,
        channels: int,
        *,
        iteration: int = 0,
        until: int | None = None,
        workers: int = 4,
        exif: bool = False,
        max_pixels: int = MAX_PIXELS,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(source):
            raise DataError("expected images to train on, found none")
        if plan.batch % world_size:
            raise ConfigError(
                f"[net] batch / subdivisions = {plan.batch}, which {world_size} processes cannot share evenly"
            )
        self.plan = plan
        self.iteration = iteration
        self.until = until
        self.problems: Sequence[Problem] = source.problems
        self._source = source
        self._maker = maker
        self._read_image = functools.partial(read_image, channels=channels, exif=exif, max_pixels=max_pixels)
        self._workers = workers
        self._rank = rank
        self._world_size = world_size
        self._unreadable: set[str] = set()

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches from ``iteration`` on."""
        count = self._images_per_process(self.iteration) * self.plan.net.subdivisions
        with closing(map_prefetched(self.example, self._jobs(), self._workers, count + self._workers)) as examples:
            while self.until is None or self.iteration < self.until:
                iteration, size = self.iteration, self.plan.size_at(self.iteration)
                pairs, images = [], []
                for _ in range(self.plan.net.subdivisions):
                    part = [next(examples) for _ in range(self._images_per_process(iteration))]
                    pairs.append(_stack(part))
                    images.append([example.images for example in part])
                self.iteration = iteration + 1
                yield Batch(iteration, size, pairs, images)

    def _images_per_process(self, iteration: int) -> int:
        """Images of this process in a mini-batch."""
        return self.plan.batch_at(iteration) // self._world_size

    def _jobs(self) -> Iterator[Job]:
        iteration = self.iteration
        while self.until is None or iteration < self.until:
            size, batch = self.plan.size_at(iteration), self.plan.batch_at(iteration)
            count = self._images_per_process(iteration)
            for subdivision in range(self.plan.net.subdivisions):
                first = subdivision * batch + self._rank * count
                for index in range(first, first + count):
                    yield Job(iteration, index, size, self.plan.mixed(iteration, index))
            iteration += 1

    def example(self, job: Job) -> Example:
        """Make one training image; can be called from any thread."""
        sources = [self._read(job, part) for part in range(self._maker.parts(job.mixed))]
        image, target = self._maker.make(job, [(image, target) for image, target, _ in sources])
        return Example(image, target, tuple(name for *_, name in sources))

    def _read(self, job: Job, part: int) -> tuple[ImageArray, Array, str]:
        """Read the image that is drawn, or the first of those drawn after it that can be read."""
        rng = self.plan.choices(job.iteration, job.index, part)
        count = len(self._source)
        index = int(rng.integers(count))
        if self.plan.net.track:
            index = self.plan.sequenced(job.iteration, job.index, part, count)
        for _ in range(_MAX_UNREADABLE):
            name = self._source.image(index)
            try:
                return self._read_image(name), self._source.target(index), name
            except DataError as error:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    _log.warning("%s; another image is drawn in its place", error)
            index = int(rng.integers(count))
        raise DataError(f"{_MAX_UNREADABLE} images drawn in a row cannot be read, the last of them {name}")


def _stack(examples: Sequence[Example]) -> tuple[Tensor, list[Tensor] | Tensor]:
    stacked = torch.from_numpy(np.stack([example.image for example in examples]))
    targets = [torch.from_numpy(example.target) for example in examples]
    return stacked, torch.stack(targets) if targets[0].dim() == 1 else targets
