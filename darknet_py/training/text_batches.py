"""Batches for a character-level language model: ``TextFile`` to train on, ``TextBatches`` of it.

As in Darknet's ``rnn train`` a character is a byte, encoded one-hot, and the target is the next character. A
mini-batch has batch / subdivisions sequences of time_steps characters each, time-major. Every sequence starts at a
random place of the text, with an empty state; Darknet continues the previous sequence nine times out of ten.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import schedule
from .._typing import StrPath
from ..errors import ConfigError, DataError
from ..network import Network
from .loader import Batch
from .sampling import Purpose, generator


@dataclass(frozen=True)
class TextFile:
    """A text to train a character-level network on, as ``data`` of ``Trainer``."""

    path: StrPath


class TextBatches:
    """Batches of a text, up to max_batches.

    Args:
        network: Whose [net] gives the sizes.
        path: The text file.
        seed: Seed of the places that sequences start at.
        rank: Number of this process, which takes its consecutive part of every mini-batch.
        world_size: Number of processes.

    Attributes:
        iteration: The next batch's.

    Raises:
        DataError: The text is too short, or has a character that the network has no input for.
        ConfigError: ``world_size`` does not divide the mini-batches.
    """

    def __init__(self, network: Network, path: StrPath, *, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        try:
            text = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        net = network.options
        self.inputs = network.shape.floats
        if len(text) <= net.time_steps:
            raise DataError(f"{path}: expected more than time_steps={net.time_steps} characters, found {len(text)}")
        if text.max() >= self.inputs:
            raise DataError(f"{path}: character {text.max()}, but the network has inputs for 0..{self.inputs - 1}")
        sequences = schedule.images_per_forward(net) // net.time_steps
        if sequences % world_size:
            raise ConfigError(
                f"[net] batch / subdivisions = {sequences}, which {world_size} processes cannot share evenly"
            )
        self.net = net
        self.text = torch.from_numpy(text.astype(np.int64))
        self.seed = seed
        self.iteration = 0
        self._sequences = sequences
        self._shard = slice(rank * sequences // world_size, (rank + 1) * sequences // world_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches from ``iteration`` on."""
        while not self.net.max_batches or self.iteration < self.net.max_batches:
            iteration = self.iteration
            pairs: list[tuple[Tensor, list[Tensor] | Tensor]] = [
                self._pair(iteration, subdivision) for subdivision in range(self.net.subdivisions)
            ]
            self.iteration = iteration + 1
            yield Batch(iteration, (1, 1), pairs, [])

    def _pair(self, iteration: int, subdivision: int) -> tuple[Tensor, Tensor]:
        """One-hot characters, float [time_steps * sequences, inputs], and those that follow them."""
        rng = generator(self.seed, iteration, subdivision, Purpose.CHOICE)
        starts = rng.integers(0, len(self.text) - self.net.time_steps, self._sequences)[self._shard]
        places = torch.from_numpy(starts) + torch.arange(self.net.time_steps + 1)[:, None]
        one_hot = torch.nn.functional.one_hot(self.text[places], self.inputs).float()
        return one_hot[:-1].flatten(0, 1), one_hot[1:].flatten(0, 1)
