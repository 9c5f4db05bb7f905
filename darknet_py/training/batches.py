"""What a cfg and a data set give to train on: ``create_batches``, and the loaders it is made of."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import text_files
from .._typing import StrPath
from ..augmentation import classification, detection
from ..data import data_file, labels
from ..data.class_map import MAP_CLASSES_HINT, describe_mismatch, resolve_class_map
from ..data.classification_list import ClassificationList, read_classification_list
from ..data.dataset import Dataset
from ..data.formats import load_dataset
from ..distributed import ProcessGroup
from ..errors import ConfigError, DataError
from ..images.reading import ImageArray
from ..messages import describe_text, get_logger
from ..network import Network
from .class_only import check_class_only, mix_class_only
from .loader import Array, Batches, Job, Loader
from .options import TrainOptions
from .sampling import CLASSIFIER_THREADS, DETECTOR_THREADS, Plan, Purpose, generator
from .sources import Classes, Objects, Tree
from .tensor_batches import TensorBatches, TensorData
from .text_batches import TextBatches, TextFile

_log = get_logger(__name__)


Data = Dataset | Batches | TensorData | TextFile | StrPath


def create_batches(
    network: Network, data: Data | None, options: TrainOptions, group: ProcessGroup, *, seed: int
) -> tuple[Batches, int, tuple[str, ...]]:
    """The batches that a network trains on.

    Args:
        network: The network.
        data: What ``load_dataset`` reads, a data set, a text or batches; for a classifier a .data file with labels= or
            images.
        options: How to train.
        group: The processes that share every mini-batch.
        seed: Seed of everything random in the batches.

    Returns:
        The batches, the number of images in the data set (0: no data set), and the class names (empty: unknown).

    Raises:
        ConfigError: The mini-batches cannot be shared evenly.
        DataError: There is nothing to train on, or it does not fit the network.
    """
    if data is None:
        raise DataError("nothing to train on: expected Trainer(network, data)")
    shared = {"rank": group.rank, "world_size": group.world_size}
    if isinstance(data, TextFile):
        return TextBatches(network, data.path, seed=seed, **shared), 0, ()
    if isinstance(data, TensorData):
        return TensorBatches(network, data, seed=seed, **shared), len(data.images), ()
    if not isinstance(data, Dataset | str | os.PathLike):
        return data, 0, ()
    kwargs: dict[str, Any] = {"seed": seed, "workers": options.workers, **options.reading, **shared}
    if not network.heads:
        images, names = read_classifier_data(data, "train")
        return create_classification_loader(network, images, names, **kwargs), len(images), names
    dataset = group.compute_once(lambda: _load_objects(network, data, options))
    path = _data_file_path(data)
    kwargs["classification"] = read_classification_list(path) if path else None
    loader = create_detection_loader(network, dataset, correct_augmentation=options.correct_augmentation, **kwargs)
    if group.is_main:
        labels.log_problems(loader.problems)
    return loader, len(dataset), dataset.names


def _load_objects(network: Network, data: Dataset | StrPath, options: TrainOptions) -> Dataset:
    """Load the objects that a detector trains on, with the classes that its loss expects."""
    head = network.heads[-1]
    label_classes = None if head.label_map is None or options.map_classes else len(head.label_map)
    class_only = head.classes if head.trains_class_only else None
    dataset = data
    if not isinstance(dataset, Dataset):
        known = label_classes if class_only is None else None
        dataset = load_dataset(dataset, "train", classes=known, polygons=options.polygons, progress=options.verbose)
    if label_classes is not None:
        dataset = dataset.drop_unknown_classes(label_classes, class_only=class_only)
        unknown = [problem for problem in dataset.problems if problem.kind == labels.UNKNOWN_CLASS]
        if unknown:
            message = unknown[0].message.removesuffix("; ignored")
            raise DataError(f"{unknown[0].location}: {message}, as many as map= has lines")
    if options.map_classes:
        mapping = resolve_class_map(options.map_classes, dataset.names, network.names, head.classes)
        dataset = dataset.map_classes(*mapping)
    if len(dataset) and not any(len(sample.targets) for sample in dataset):
        labels.log_problems(dataset.problems)
        raise DataError(f"{dataset.source or 'data'}: nothing to train on: no objects in {len(dataset)} images")
    if len(dataset.names) not in (0, head.classes):
        message = describe_mismatch(dataset.source, dataset.names, head.classes)
        if not _data_file_path(data):
            raise DataError(f"{message}; {MAP_CLASSES_HINT}")
        _log.warning("%s", message)  # Darknet does not read the names to train
    return dataset


def create_detection_loader(
    network: Network,
    dataset: Dataset,
    *,
    classification: ClassificationList | None = None,
    seed: int = 0,
    correct_augmentation: bool = False,
    **kwargs: Any,
) -> Loader:
    """A loader for a detector, by the options of its [net] and of its last head.

    Args:
        network: The detector.
        dataset: Images and their objects.
        classification: Images with a class and no box that are mixed with them, for a head with a class tree.
        seed: Seed of everything random in the batches.
        correct_augmentation: See ``TrainOptions``.
        **kwargs: Arguments of ``Loader``; ``until`` is max_batches by default.

    Raises:
        ConfigError: The network has no detection head, does not accept a size of ``random=``, or combines images whose
            targets have no box.
        DataError: The data set is empty, or there is no class tree for ``classification``.
    """
    if not network.heads:
        raise ConfigError(f"{network.config.path}: expected a network with a detection head to train on objects")
    head = network.heads[-1]
    groups = 0 if correct_augmentation else DETECTOR_THREADS
    plan = _plan(network, seed, groups, head.multi_scale)
    for size in sorted(plan.sizes()):
        network.check_size(size)
    augmentation = detection.DetectionAugmentation.from_cfg(network.options, head, corrected=correct_augmentation)
    maker = _Detection(plan, augmentation)
    label_classes = head.classes if head.label_map is None else max(head.classes, len(head.label_map))
    dataset = dataset.drop_unknown_classes(label_classes, class_only=head.classes)
    objects = Objects(dataset, bool(network.options.track or network.options.contrastive))
    if classification or (head.trains_class_only and dataset.has_class_only):
        check_class_only(network, augmentation)
    source = mix_class_only(head, objects, classification) if classification else objects
    return _loader(network, plan, source, maker, kwargs)


def create_classification_loader(
    network: Network,
    images: Sequence[str],
    names: Sequence[str],
    *,
    seed: int = 0,
    **kwargs: Any,
) -> Loader:
    """A loader for a classifier: images whose paths contain their class, as in Darknet.

    Args:
        network: The classifier.
        images: Paths of the images.
        names: Class names, of which those beyond the network's outputs are ignored; may be empty with
            unsupervised=1, where the class of an image is its index modulo the number of classes.
        seed: Seed of everything random in the batches.
        **kwargs: Arguments of ``Loader``; ``until`` is max_batches by default.

    Raises:
        DataError: There are fewer names than the network has outputs, or no images.
    """
    count = network[len(network.layers) - 1].shape.floats
    if len(names) < count and not (network.options.unsupervised and not names):
        raise DataError(f"{len(names)} labels, but the network has {count} classes")
    plan = _plan(network, seed, CLASSIFIER_THREADS, 0.0)
    source = Classes(images, names[:count], count, network.options.label_smooth_eps, _tree(network))
    augmentation = classification.ClassificationAugmentation.from_cfg(network.options, plan.size)
    maker = _Classification(plan, augmentation)
    return _loader(network, plan, source, maker, kwargs)


def data_file_entries(data: Data | None) -> Mapping[str, str]:
    """The entries of the .data file that ``data`` names; none if it is something else."""
    path = _data_file_path(data)
    return data_file.read_data_file(path).values if path else {}


def read_class_names(network: Network, data: Data | None, options: TrainOptions) -> tuple[str, ...]:
    """Names of the network's classes, by the data set; empty if it has none. Raises DataError if unreadable."""
    names: tuple[str, ...] = ()
    if path := _data_file_path(data):
        settings = data_file.read_data_file(path)
        names = tuple(data_file.read_names(settings.get_path("names"))) if "names" in settings.values else ()
    elif isinstance(data, str | os.PathLike):
        names = load_dataset(data, "train", polygons=options.polygons, progress=options.verbose).names
    elif isinstance(data, Dataset):
        names = data.names
    if options.map_classes and network.heads:
        return resolve_class_map(options.map_classes, names, network.names, network.heads[-1].classes)[1]
    return names


def integer_entry(entries: Mapping[str, str], key: str, default: int) -> int:
    """An entry of a .data file as an integer. Raises ConfigError if it is not one."""
    try:
        return int(entries.get(key, default))
    except ValueError:
        raise ConfigError(f"{key}: expected an integer, got {describe_text(entries[key])}") from None


def read_classifier_data(data: Data | None, subset: str) -> tuple[list[str], tuple[str, ...]]:
    """Images and class names of a classifier's .data file. Raises DataError if ``data`` is something else."""
    path = _data_file_path(data)
    if not path:
        raise DataError("a classifier trains on a .data file with train= and labels=")
    settings = data_file.read_data_file(path)
    names = data_file.read_names(settings.get_path("labels")) if "labels" in settings.values else ()
    return text_files.read_list(settings.get_path(subset)), names


def _data_file_path(data: Data | None) -> StrPath:
    """``data`` if it is the path of a .data file, else empty."""
    if isinstance(data, str | os.PathLike) and pathlib.Path(data).suffix.lower() == ".data":
        return data
    return ""


def _plan(network: Network, seed: int, mix_groups: int, random: float) -> Plan:
    return Plan(network.options, (network.shape.width, network.shape.height), random, seed, mix_groups)


def _loader(network: Network, plan: Plan, source: Any, maker: Any, kwargs: dict[str, Any]) -> Loader:
    kwargs.setdefault("until", network.options.max_batches or None)
    return Loader(plan, source, maker, network.shape.channels, **kwargs)


@dataclass
class _Detection:
    plan: Plan
    augmentation: detection.DetectionAugmentation

    def parts(self, mixed: bool) -> int:
        return self.augmentation.source_count if mixed else 1

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        draws = [self._draw(job, part) for part in range(len(sources))]
        rng = generator(self.plan.seed, job.iteration, job.index, Purpose.PIXELS)
        return detection.augment(self.augmentation, job.size, sources, draws, rng)

    def _draw(self, job: Job, part: int) -> detection.SampledParams:
        net = self.plan.net
        own = self._draw_new(job.iteration, self.plan.draws_for(job.iteration, job.index), part)
        if not net.contrastive or net.track or job.index % 2 == 0:
            return own
        first = self._draw_new(job.iteration, job.index - 1, part)
        return own.share(first, geometry=not net.contrastive_jit_flip, colour=not net.contrastive_color)

    def _draw_new(self, iteration: int, index: int, part: int) -> detection.SampledParams:
        rng = generator(self.plan.seed, iteration, index * 4 + part, Purpose.DRAW)
        return detection.sample_params(self.augmentation, rng)


def _tree(network: Network) -> Tree | None:
    tree = network.class_tree
    return (tree.parent.tolist(), tree.group.tolist()) if tree else None


@dataclass
class _Classification:
    plan: Plan
    augmentation: classification.ClassificationAugmentation

    def parts(self, mixed: bool) -> int:
        return self.augmentation.mix.source_count if mixed else 1

    def make(self, job: Job, sources: Sequence[tuple[ImageArray, Array]]) -> tuple[Array, Array]:
        rng = generator(self.plan.seed, job.iteration, job.index, Purpose.PIXELS)
        return classification.augment(self.augmentation, job.size, sources, rng)
