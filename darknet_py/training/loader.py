"""``Loader``: the batches of a training, made by threads while the network computes.

    for batch in batches.for_detector(network, load_dataset("voc.data", "train"), seed=1):
        cost = trainer.step(batch.pairs)

What an iteration gets depends on the seed and its number alone, so both are all there is to resume with. A
image that cannot be read is said once and another one is drawn for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
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
from ..images.prefetch import map_prefetched
from ..images.reading import ImageArray, read_image
from .sampling import Plan

_log = logging.getLogger(__name__)
_TRIES = 100  # images in a row that cannot be read

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One image to make: its iteration and index in there, how large, and whether it is mixed."""

    iteration: int
    index: int
    size: Size
    mixed: bool


class Example(NamedTuple):
    """A training image [channels, height, width], its target, and the files that it was made of."""

    image: Array
    target: Array
    images: tuple[str, ...]


class Batch(NamedTuple):
    """What one update is made from.

    ``pairs``: for every mini-batch its images [b, channels, height, width] in 0..1, and the objects
    [n, 5] of each (x y w h class) or the classes [b, classes] of all. ``images``: for every mini-batch
    and image the files that it was made of. ``iteration``: updates before this one. ``size``: width, height.
    """

    iteration: int
    size: Size
    pairs: list[tuple[Tensor, list[Tensor] | Tensor]]
    images: list[list[tuple[str, ...]]]


class Source(Protocol):
    """Images with what is known about them; ``problems``: what is missing or odd in there."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Of labels."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> str:
        """The file."""

    def target(self, index: int) -> Array:
        """Objects or classes."""


Read = Callable[[int], tuple[ImageArray, Array]]


class Maker(Protocol):
    """How images become a training image."""

    def parts(self, mixed: bool) -> int:
        """How many images are needed."""

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        """The training image and its target."""


class Loader:
    """Batches of a network's ``batch``, ``subdivisions`` and size, without end or up to iteration ``until``.

    ``iteration``: the next batch's; set it to go on from there. ``workers``: threads; 0: none. ``rank`` of
    ``world`` processes that share every mini-batch: this one gets its consecutive part. Iterating anew
    goes on; leaving the loop, closing the iterator or an error ends the threads. ``problems``: of the labels.
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
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises DataError for an empty source, ConfigError where ``world`` does not divide mini-batches."""
        if not len(source):
            raise DataError("expected images to train on, found none")
        if plan.batch % world:
            raise ConfigError(f"[net] batch / subdivisions = {plan.batch}, which {world} processes cannot share evenly")
        self.plan, self.iteration, self.until = plan, iteration, until
        self.problems: Sequence[Problem] = source.problems
        self._source, self._maker, self._channels = source, maker, channels
        self._workers, self._rank, self._world = workers, rank, world
        self._broken: set[str] = set()

    def __iter__(self) -> Iterator[Batch]:
        """Go on from ``iteration``."""
        count = self._share(self.iteration) * self.plan.net.subdivisions
        with closing(map_prefetched(self.example, self._jobs(), self._workers, count + self._workers)) as examples:
            while self.until is None or self.iteration < self.until:
                iteration, size = self.iteration, self.plan.size_at(self.iteration)
                pairs, images = [], []
                for _ in range(self.plan.net.subdivisions):
                    part = [next(examples) for _ in range(self._share(iteration))]
                    pairs.append(_stacked(part))
                    images.append([example.images for example in part])
                self.iteration = iteration + 1
                yield Batch(iteration, size, pairs, images)

    def _share(self, iteration: int) -> int:
        """Images of this process in a mini-batch."""
        return self.plan.batch_at(iteration) // self._world

    def _jobs(self) -> Iterator[Job]:
        iteration = self.iteration
        while self.until is None or iteration < self.until:
            size, share, batch = self.plan.size_at(iteration), self._share(iteration), self.plan.batch_at(iteration)
            for subdivision in range(self.plan.net.subdivisions):
                first = subdivision * batch + self._rank * share
                for index in range(first, first + share):
                    yield Job(iteration, index, size, self.plan.mixed(iteration, index))
            iteration += 1

    def example(self, job: Job) -> Example:
        """Make one image; any thread may."""
        chosen = [self._chosen(job, part) for part in range(self._maker.parts(job.mixed))]
        image, target = self._maker.make(job, [(image, target) for image, target, _ in chosen])
        return Example(image, target, tuple(name for *_, name in chosen))

    def _chosen(self, job: Job, part: int) -> tuple[ImageArray, Array, str]:
        """Read the image that is drawn, and others until one can be read."""
        rng, count = self.plan.choices(job.iteration, job.index, part), len(self._source)
        index = int(rng.integers(count))
        if self.plan.net.track:
            index = self.plan.sequenced(job.iteration, job.index, part, count)
        for _ in range(_TRIES):
            name = self._source.image(index)
            try:
                return read_image(name, self._channels), self._source.target(index), name
            except DataError as error:
                if name not in self._broken:
                    self._broken.add(name)
                    _log.warning("%s; another image is taken for it", error)
            index = int(rng.integers(count))
        raise DataError(f"{_TRIES} images drawn in a row cannot be read, the last of them {name}")


def _stacked(examples: Sequence[Example]) -> tuple[Tensor, list[Tensor] | Tensor]:
    stacked = torch.from_numpy(np.stack([example.image for example in examples]))
    targets = [torch.from_numpy(example.target) for example in examples]
    return stacked, torch.stack(targets) if targets[0].dim() == 1 else targets
