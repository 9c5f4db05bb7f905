"""``Plan``: which images an iteration is trained on and how large they are, drawn from the seed.

Everything random has a generator of its own, seeded with (seed, iteration, index, purpose). So a run that is resumed,
or shared by several processes and any number of workers, sees the same images as an uninterrupted run of one process.
As in Darknet images are drawn with replacement: there are no epochs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .. import schedule
from ..augmentation.geometry import Size
from ..cfg import Dialect
from ..cfg.net_section import Net
from ..errors import ConfigError

_RESIZE_EVERY = 10  # iterations
_RESIZE_RANGE = 1.4  # of random=1: sizes from 1 / 1.4 to 1.4 times the cfg's
_LARGEST_AT_END = 100  # last iterations, which have the largest size
_PJREDDIES_SIDES = range(320, 609, 32)  # of his random=, whatever the cfg's size (``train_detector``)
_PJREDDIES_LARGEST_AT_END = 200
DETECTOR_THREADS = 6  # of C's loader in builds with OpenCV (``train_detector``)
CLASSIFIER_THREADS = 32  # ``train_classifier``
_MEMORY_SHARE = 0.8  # of the largest size's, for larger mini-batches of smaller images


class Purpose(enum.IntEnum):
    """What a random generator is used for; each purpose has its own stream."""

    CHOICE = 0
    DRAW = 1
    PIXELS = 2
    MIX = 3
    SIZE = 4
    SEQUENCE = 5


def generator(seed: int, iteration: int, index: int, purpose: Purpose) -> np.random.Generator:
    """The random generator for one purpose of one image."""
    return np.random.default_rng((seed, iteration, index, purpose))


@dataclass(frozen=True)
class Plan:
    """How the images of an iteration are drawn.

    Attributes:
        net: The options of [net].
        size: Width and height of the cfg's input.
        random: ``random=`` of the head: 1, or the factor by which sizes vary; in pjreddie's dialect 1 for 320 to 608.
        seed: Seed of everything random.
        mix_groups: Consecutive parts of an iteration whose images are all mixed with others or none of them is: C's
            loader threads, of which each decides once for its images; 0: decide for each image.
    """

    net: Net
    size: Size
    random: float = 0.0
    seed: int = 0
    mix_groups: int = DETECTOR_THREADS

    @property
    def batch(self) -> int:
        """Images per mini-batch at the cfg's size."""
        return schedule.images_per_forward(self.net)

    def size_at(self, iteration: int) -> Size:
        """Width and height of an iteration's images; they change every 10 iterations with ``random=``.

        In AlexeyAB's dialect they vary about the cfg's size; in pjreddie's they are squares of 320 to 608 pixels by
        steps of 32, all equally likely, whatever the cfg's size, and 608 in the last blocks.
        """
        if not self._is_random:
            return self.size
        block = iteration // _RESIZE_EVERY * _RESIZE_EVERY
        if self._is_pjreddies:
            if self.net.max_batches and block > self.net.max_batches - _PJREDDIES_LARGEST_AT_END:
                return self._largest
            side = int(generator(self.seed, block, 0, Purpose.SIZE).choice(_PJREDDIES_SIDES))
            return side, side
        if block == 0 or (self.net.max_batches and block > self.net.max_batches - _LARGEST_AT_END):
            return self._largest
        rng = generator(self.seed, block, 0, Purpose.SIZE)
        factor = 1 + (self._reach - 1) * rng.random()
        if rng.integers(2):
            factor = 1 / factor
        size = self._stepped(factor)
        return self.size if factor < 1 and (size[0] > self.size[0] or size[1] > self.size[1]) else size

    def sizes(self) -> set[Size]:
        """All sizes that ``size_at`` returns."""
        if not self._is_random:
            return {self.size}
        if self._is_pjreddies:
            return {(side, side) for side in _PJREDDIES_SIDES}
        first, last = sorted((1 / self._reach, self._reach))
        step = self.net.resize_step
        # A side changes where factor * side / step + 1.5 passes a whole number.
        changes = {(n - 0.5) * step / side for side in self.size for n in range(1, int(last * side / step) + 3)}
        factors = sorted({first, last, *(factor for factor in changes if first < factor < last)})
        between = [(a + b) / 2 for a, b in pairwise(factors)]
        return {self.size, *(self._stepped(factor) for factor in (*factors, *between))}

    def batch_at(self, iteration: int) -> int:
        """Images per mini-batch of an iteration; more at smaller sizes with ``dynamic_minibatch=1``."""
        if not (self._is_random and self.net.dynamic_minibatch):
            return self.batch
        (wide, high), (width, height) = self._largest, self.size_at(iteration)
        fitting = self.batch * wide * high // (width * height)
        return filled if (filled := int(fitting * _MEMORY_SHARE)) > self.batch else fitting

    @property
    def _is_pjreddies(self) -> bool:
        return self.net.dialect is Dialect.PJREDDIE

    @property
    def _is_random(self) -> bool:
        """Whether sizes change; pjreddie's ``random=`` is an integer."""
        return bool(int(self.random) if self._is_pjreddies else self.random)

    @property
    def _largest(self) -> Size:
        """The largest size with ``random=``."""
        return (_PJREDDIES_SIDES[-1],) * 2 if self._is_pjreddies else self._stepped(self._reach)

    @property
    def _reach(self) -> float:
        return _RESIZE_RANGE if self.random == 1 else self.random

    def _stepped(self, factor: float) -> Size:
        step = self.net.resize_step
        if step < 1:  # options that were not read from a cfg
            raise ConfigError(f"[net] resize_step: expected 1 or more, got {step:g}")
        # roundl(): halves are rounded away from zero
        width, height = (int(int(factor * side / step + 1.5) * step) for side in self.size)
        return max(width, int(step)), max(height, int(step))

    def mixed(self, iteration: int, index: int) -> bool:
        """Whether image ``index`` of an iteration is mixed with others; the probability is 1/2."""
        if self.net.track:
            group = index // self._sequence(iteration)
        elif self.mix_groups:
            # C has at most one thread per pair of a mini-batch.
            groups = min(self.mix_groups, max(1, self.batch // 2)) if self.net.contrastive else self.mix_groups
            count = self.batch_at(iteration) * self.net.subdivisions
            # Thread t has (t + 1) * count // groups - t * count // groups images; ``concat_datas`` puts the last first.
            group = ((count - index) * groups - 1) // count
        else:
            group = index
        return bool(generator(self.seed, iteration, group, Purpose.MIX).integers(2))

    def draws_for(self, iteration: int, index: int) -> int:
        """Index of the image whose augmentation image ``index`` has too: that of the first in its sequence."""
        if not self.net.track:
            return index
        length = self._sequence(iteration)
        return index // length * length

    def choices(self, iteration: int, index: int, part: int) -> np.random.Generator:
        """The random generator that selects image ``index``, or ``part`` of a mixed one.

        The two images of a contrastive pair have the same.
        """
        first = index // 2 * 2 if self.net.contrastive else index
        return generator(self.seed, iteration, first * 4 + part, Purpose.CHOICE)

    def sequenced(self, iteration: int, index: int, part: int, count: int) -> int:
        """Number of the image, of ``count``, at ``index`` of an iteration with ``track=1`` (``get_sequential_paths``).

        Every mini-batch holds batch / subdivisions streams, time-major. A stream runs through the list of images
        from a random start, at a speed that is the same for the whole sequence.
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
        """Images of an iteration that form one sequence."""
        return self.batch_at(iteration) * schedule.sequence_length(self.net, iteration)
