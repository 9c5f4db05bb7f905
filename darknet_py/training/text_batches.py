"""``TextBatches``: batches for a network that learns to go on with a text, character by character.

As Darknet's ``rnn train``: a character is a byte, one of the network's inputs is 1 for it, and what shall come
out is the next. A mini-batch is batch / subdivisions pieces of the text, time_steps characters long, which lie
time by time. Every piece begins anew at a random place, with an empty memory; Darknet goes on where a piece
ended nine times out of ten.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._typing import StrPath
from ..errors import ConfigError, DataError
from ..network import Network
from .loader import Batch
from .sampling import Purpose, generator


class TextBatches:
    """Batches of a text, up to max_batches. ``rank`` of ``world`` processes that share every mini-batch.

    ``iteration``: the next batch's. Raises DataError for a text that is too short or that has a character which
    the network has no input for, ConfigError where ``world`` does not divide mini-batches.
    """

    def __init__(self, network: Network, path: StrPath, *, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        try:
            text = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        net, self.inputs = network.options, network.shape.floats
        if len(text) <= net.time_steps:
            raise DataError(f"{path}: expected more than time_steps={net.time_steps} characters, found {len(text)}")
        if text.max() >= self.inputs:
            raise DataError(f"{path}: character {text.max()}, but the network has inputs for 0..{self.inputs - 1}")
        pieces = max(1, net.batch // net.subdivisions)
        if pieces % world:
            raise ConfigError(f"[net] batch / subdivisions = {pieces}, which {world} processes cannot share evenly")
        self.net, self.text, self.seed, self.iteration = net, torch.from_numpy(text.astype(np.int64)), seed, 0
        self._mine = slice(rank * pieces // world, (rank + 1) * pieces // world)
        self._pieces = pieces

    def __iter__(self) -> Iterator[Batch]:
        """Go on from ``iteration``."""
        while not self.net.max_batches or self.iteration < self.net.max_batches:
            iteration = self.iteration
            pairs: list[tuple[Tensor, list[Tensor] | Tensor]] = [
                self._pair(iteration, part) for part in range(self.net.subdivisions)
            ]
            self.iteration = iteration + 1
            yield Batch(iteration, (1, 1), pairs, [])

    def _pair(self, iteration: int, part: int) -> tuple[Tensor, Tensor]:
        """One-hot characters [time_steps * pieces, inputs], and those that follow them."""
        rng = generator(self.seed, iteration, part, Purpose.CHOICE)
        firsts = rng.integers(0, len(self.text) - self.net.time_steps, self._pieces)[self._mine]
        places = torch.from_numpy(firsts) + torch.arange(self.net.time_steps + 1)[:, None]
        hot = torch.nn.functional.one_hot(self.text[places], self.inputs).float()
        return hot[:-1].flatten(0, 1), hot[1:].flatten(0, 1)
