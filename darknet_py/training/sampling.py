"""Which images an iteration is trained on and how large they are: drawn from the seed, never remembered.

Everything random has a generator of its own, made of (seed, iteration, index, purpose). So a training that
is resumed, or shared by several processes and any number of workers, sees what a single one would have seen.
As in Darknet images are drawn with replacement: there are no epochs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from .. import schedule
from ..augmentation.geometry import Size
from ..cfg.net_section import Net
from ..errors import ConfigError

_TURNS = 10  # iterations that a size is kept for
_RANDOM = 1.4  # how far sizes go where random=1
_LAST = 100  # iterations at the end that are made at the largest size
_FILL = 0.8  # of the memory that a larger mini-batch of smaller images may take


class Purpose(enum.IntEnum):
    """What a generator is for; each has its own stream."""

    CHOICE = 0
    DRAW = 1
    PIXELS = 2
    MIX = 3
    SIZE = 4
    SEQUENCE = 5


def generator(seed: int, iteration: int, index: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one purpose of one image."""
    return np.random.default_rng((seed, iteration, index, purpose))


@dataclass(frozen=True)
class Plan:
    """How the images of an iteration are drawn.

    ``size``: width and height of the cfg's input. ``random``: the head's key. ``chunks``: images are mixed
    or not by one coin for each of so many parts of an iteration, as by Darknet's loader threads, of which
    there are 6; 0: a coin for each image.
    """

    net: Net
    size: Size
    random: float = 0.0
    seed: int = 0
    chunks: int = 0

    @property
    def batch(self) -> int:
        """Images per mini-batch: batch / subdivisions * time_steps."""
        return max(1, self.net.batch // self.net.subdivisions) * max(1, self.net.time_steps)

    def size_at(self, iteration: int) -> Size:
        """Width and height of an iteration's images; they change every 10 iterations where ``random``."""
        if not self.random:
            return self.size
        largest = self._stepped(self._reach)
        block = iteration // _TURNS * _TURNS
        if block == 0 or (self.net.max_batches and block > self.net.max_batches - _LAST):
            return largest
        rng = generator(self.seed, block, 0, Purpose.SIZE)
        factor = 1 + (self._reach - 1) * rng.random()
        if rng.integers(2):
            factor = 1 / factor
        size = self._stepped(factor)
        return self.size if factor < 1 and (size[0] > self.size[0] or size[1] > self.size[1]) else size

    def batch_at(self, iteration: int) -> int:
        """Images per mini-batch of an iteration; more at smaller sizes where ``dynamic_minibatch``."""
        if not (self.random and self.net.dynamic_minibatch):
            return self.batch
        (wide, high), (width, height) = self._stepped(self._reach), self.size_at(iteration)
        fitting = self.batch * wide * high // (width * height)
        return filled if (filled := int(fitting * _FILL)) > self.batch else fitting

    @property
    def _reach(self) -> float:
        return _RANDOM if self.random == 1 else self.random

    def _stepped(self, factor: float) -> Size:
        step = self.net.resize_step
        if step < 1:
            raise ConfigError(f"[net] resize_step: expected 1 or more, got {step:g}")
        # roundl(): halves go away from zero
        width, height = (int(int(factor * side / step + 1.5) * step) for side in self.size)
        return max(width, int(step)), max(height, int(step))

    def mixed(self, iteration: int, index: int) -> bool:
        """Whether image ``index`` of an iteration is mixed: a fair coin."""
        if self.chunks:
            count = self.batch_at(iteration) * self.net.subdivisions
            # Chunk c begins at c * count / chunks.
            index = ((index + 1) * self.chunks - 1) // count
        return bool(generator(self.seed, iteration, index, Purpose.MIX).integers(2))

    def draws_for(self, iteration: int, index: int) -> int:
        """The image whose random numbers image ``index`` shares: in a sequence all have the first one's."""
        if not self.net.track:
            return index
        length = self._sequence(iteration)
        return index // length * length

    def choices(self, iteration: int, index: int, part: int) -> np.random.Generator:
        """The generator that image ``index``, or ``part`` of it where it is mixed, is chosen with.

        Images of a contrastive pair have the same.
        """
        first = index // 2 * 2 if self.net.contrastive else index
        return generator(self.seed, iteration, first * 4 + part, Purpose.CHOICE)

    def sequenced(self, iteration: int, index: int, part: int, count: int) -> int:
        """The image of ``count`` that stands at ``index`` where ``track=1`` (``get_sequential_paths``).

        Every mini-batch holds batch / subdivisions streams, step by step; a stream goes through the list
        from a random start, at a speed that the whole sequence has in common.
        """
        length, streams = self._sequence(iteration), max(1, self.batch_at(iteration) // max(1, self.net.time_steps))
        first, row = index // length * length, index % length
        speed_rng = generator(self.seed, iteration, first * 4 + part, Purpose.SEQUENCE)
        speed = max(1, int(speed_rng.integers(1, max(1, self.net.augment_speed), endpoint=True)))
        stream = row % streams
        if self.net.contrastive:
            stream -= stream % 2
        start = int(generator(self.seed, iteration, (first + stream) * 4 + part, Purpose.CHOICE).integers(count))
        return (start + row // streams * speed) % count

    def _sequence(self, iteration: int) -> int:
        """Images of an iteration that go on from each other."""
        return self.batch_at(iteration) * schedule.sequence(self.net, iteration)
