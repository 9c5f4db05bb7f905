"""Batches of images in memory, without augmentation: ``TensorData`` to train on, ``TensorBatches`` of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import schedule
from ..errors import ConfigError, DataError
from ..network import Network
from .loader import Batch
from .sampling import Purpose, generator


@dataclass(frozen=True, eq=False)
class TensorData:
    """Images and targets to train a classifier on, as ``data`` of ``Trainer``.

    Attributes:
        images: uint8 [n, channels, height, width], read as v / 255, of the network's input size.
        targets: float32 [n, classes].
    """

    images: Tensor
    targets: Tensor


class TensorBatches:
    """Batches of images drawn with replacement (``get_random_batch``), up to max_batches.

    Args:
        network: Whose [net] gives the sizes.
        data: The images.
        seed: Seed of the draws.
        rank: Number of this process, which takes its consecutive part of every mini-batch.
        world_size: Number of processes.

    Attributes:
        iteration: The next batch's.

    Raises:
        DataError: There are no images, or they or the targets do not fit the network.
        ConfigError: ``world_size`` does not divide the mini-batches.
    """

    def __init__(
        self, network: Network, data: TensorData, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        shape, classes = tuple(network.shape), network[len(network.layers) - 1].shape.floats
        if tuple(data.images.shape[1:]) != shape or not len(data.images):
            raise DataError(f"images {list(data.images.shape)}: expected [n, {', '.join(map(str, shape))}]")
        if tuple(data.targets.shape) != (len(data.images), classes):
            raise DataError(f"targets {list(data.targets.shape)}: expected [{len(data.images)}, {classes}]")
        count = schedule.images_per_forward(network.options)
        if count % world_size:
            raise ConfigError(f"[net] batch / subdivisions = {count}, which {world_size} processes cannot share evenly")
        self.net = network.options
        self.data = data
        self.seed = seed
        self.iteration = 0
        self._count = count
        self._shard = slice(rank * count // world_size, (rank + 1) * count // world_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches from ``iteration`` on."""
        height, width = self.data.images.shape[2:]
        while not self.net.max_batches or self.iteration < self.net.max_batches:
            iteration = self.iteration
            pairs: list[tuple[Tensor, list[Tensor] | Tensor]] = [
                self._pair(iteration, subdivision) for subdivision in range(self.net.subdivisions)
            ]
            self.iteration = iteration + 1
            yield Batch(iteration, (width, height), pairs, [])

    def _pair(self, iteration: int, subdivision: int) -> tuple[Tensor, Tensor]:
        rng = generator(self.seed, iteration, subdivision, Purpose.CHOICE)
        rows = torch.from_numpy(rng.integers(0, len(self.data.images), self._count)[self._shard])
        return self.data.images[rows].float() / 255, self.data.targets[rows]
