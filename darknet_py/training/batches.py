"""The batches that a cfg and a data set give: ``for_detector`` and ``for_classifier``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..augmentation import classification, detection
from ..data import class_labels
from ..data.dataset import Dataset
from ..data.labels import Problem
from ..errors import ConfigError, DataError
from ..images.reading import ImageArray
from ..network import Network
from .loader import Array, Job, Loader
from .sampling import Plan, Purpose, generator

_log = logging.getLogger(__name__)

_IDENTITIES = 4000  # objects per image that Darknet keeps apart


def for_detector(
    network: Network, dataset: Dataset, *, seed: int = 0, chunks: int = 0, mended: bool = False, **options: Any
) -> Loader:
    """Batches for a network with heads, by the keys of its ``[net]`` and of its last head.

    ``chunks``: see ``sampling.Plan``; ``mended``: see ``DetectionAugmentation.corrected``; ``options``: those of
    ``Loader``, whose ``until`` is max_batches by default. Raises ConfigError, DataError.
    """
    if not network.heads:
        raise ConfigError(f"{network.config.path}: no head that makes boxes, so objects cannot be trained")
    head = network.heads[-1]
    plan = _plan(network, seed, chunks, head.multi_scale)
    maker = _Detection(plan, detection.DetectionAugmentation.from_cfg(network.options, head, corrected=mended))
    objects = Objects(
        dataset.drop_unknown_classes(head.classes), bool(network.options.track or network.options.contrastive)
    )
    return _loader(network, plan, objects, maker, options)


def for_classifier(
    network: Network, images: Sequence[str], labels: Sequence[str], *, seed: int = 0, chunks: int = 0, **options: Any
) -> Loader:
    """Batches for a classifier: images whose paths hold their label, as in Darknet.

    No ``labels`` with unsupervised=1: every image has a class of its own, modulo their number. The other
    arguments are those of ``for_detector``. Raises DataError for fewer labels than the network has outputs;
    what is more is left out.
    """
    count = network[len(network.layers) - 1].shape.floats
    if len(labels) < count and not (network.options.unsupervised and not labels):
        raise DataError(f"{len(labels)} labels, but the network has {count} classes")
    plan = _plan(network, seed, chunks, 0.0)
    source = Classes(images, labels[:count], count, network.options.label_smooth_eps, _tree(network))
    return _loader(
        network,
        plan,
        source,
        _Classification(plan, classification.ClassificationAugmentation.from_cfg(network.options, plan.size)),
        options,
    )


def _plan(network: Network, seed: int, chunks: int, random: float) -> Plan:
    return Plan(network.options, (network.shape.width, network.shape.height), random, seed, chunks)


def _loader(network: Network, plan: Plan, source: Any, maker: Any, options: dict[str, Any]) -> Loader:
    options.setdefault("until", network.options.max_batches or None)
    return Loader(plan, source, maker, network.shape.channels, **options)


@dataclass
class Objects:
    """The source of a detector. ``identified``: targets have a sixth column, the same for the same object."""

    dataset: Dataset
    identified: bool = False

    @property
    def problems(self) -> Sequence[Problem]:
        """Of the labels."""
        return self.dataset.problems

    def __len__(self) -> int:
        """Images."""
        return len(self.dataset)

    def image(self, index: int) -> str:
        """The file."""
        return self.dataset.samples[index].image

    def target(self, index: int) -> Array:
        """Objects [n, 5] or [n, 6]."""
        targets = self.dataset.samples[index].targets
        if not self.identified:
            return targets
        numbers = np.arange(len(targets)) + index % _IDENTITIES * _IDENTITIES
        return np.concatenate((targets, numbers[:, None]), axis=1, dtype=np.float32)


@dataclass
class _Detection:
    plan: Plan
    augmentation: detection.DetectionAugmentation

    def parts(self, mixed: bool) -> int:
        return self.augmentation.mix if mixed else 1

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        draws = [self._draw(job, part) for part in range(len(sources))]
        rng = generator(self.plan.seed, job.iteration, job.index, Purpose.PIXELS)
        return detection.augment(self.augmentation, job.size, sources, draws, rng)

    def _draw(self, job: Job, part: int) -> detection.SampledParams:
        net = self.plan.net
        drawn = self._fresh(job.iteration, self.plan.draws_for(job.iteration, job.index), part)
        if not net.contrastive or net.track or job.index % 2 == 0:
            return drawn
        first = self._fresh(job.iteration, job.index - 1, part)
        return drawn.share(first, geometry=not net.contrastive_jit_flip, colour=not net.contrastive_color)

    def _fresh(self, iteration: int, index: int, part: int) -> detection.SampledParams:
        return detection.sample_params(
            self.augmentation, generator(self.plan.seed, iteration, index * 4 + part, Purpose.DRAW)
        )


Tree = tuple[list[int], list[int]]  # parent and group of every class


def _tree(network: Network) -> Tree | None:
    tree = network.class_tree
    return (tree.parent.tolist(), tree.group.tolist()) if tree else None


@dataclass
class Classes:
    """The source of a classifier: ``count`` classes, by the labels in the images' paths.

    Paths are searched when they are drawn, as lists may be long; ``problems`` are those found so far.
    """

    images: Sequence[str]
    labels: Sequence[str]
    count: int
    smoothing: float = 0.0
    tree: Tree | None = None
    problems: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        """Images."""
        return len(self.images)

    def image(self, index: int) -> str:
        """The file."""
        return self.images[index]

    def target(self, index: int) -> Array:
        """Classes [count]."""
        if not self.labels:
            return class_labels.encode_classes([index % self.count], self.count)
        hits = class_labels.match_labels(self.images[index], self.labels, self._problem)
        vector = class_labels.encode_classes(hits, self.count, self.smoothing)
        return class_labels.add_ancestors(vector, hits, *self.tree) if self.tree else vector

    def _problem(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            _log.warning("%s", problem)


@dataclass
class _Classification:
    plan: Plan
    augmentation: classification.ClassificationAugmentation

    def parts(self, mixed: bool) -> int:
        return self.augmentation.mix.source_count if mixed else 1

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        rng = generator(self.plan.seed, job.iteration, job.index, Purpose.PIXELS)
        return classification.augment(self.augmentation, job.size, sources, rng)
