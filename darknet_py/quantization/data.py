"""The data of a calibration: images as the network's input, and the scores of a model on all of them."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .._typing import StrPath
from ..classifier import Classifier
from ..data.data_file import read_data_file
from ..data.dataset import Dataset
from ..data.formats import load_dataset
from ..detector import Detector
from ..errors import DataError
from ..evaluation.accuracy import evaluate_accuracy_on_data
from ..evaluation.evaluator import evaluate, prepare_dataset
from ..evaluation.scores import Protocol
from ..inference.exported_model import ExportedModel
from ..messages import get_logger
from ..network import Network
from ..text_files import read_list
from .search import Scores

_log = get_logger(__name__)


@dataclass(frozen=True)
class CalibrationData:
    """Images of a data set, and how a model is scored on them.

    Attributes:
        source: Name of the data set.
        images: Paths of the images.
        files: Files that are read, and must not be written.
        prepare: Reads an image as the network's input, float32 [1, channels, height, width] in 0..1, as ``Detector`` or
            ``Classifier`` does. Raises DataError.
        measure: Computes the scores of a model on all images, 0..1; None without labels.
        protocol: The rule by which they are computed; empty without labels.
    """

    source: str
    images: Sequence[str]
    files: Sequence[str]
    prepare: Callable[[str], Tensor]
    measure: Callable[[ExportedModel], Scores] | None
    protocol: str = ""

    def sample(self, count: int, seed: int) -> list[Tensor]:
        """Return ``count`` images as inputs, drawn without replacement; fewer, with a warning, where there are fewer.

        Images that cannot be read are left out with a warning.

        Raises:
            DataError: No image can be read, or ``count`` is less than 1.
        """
        if count < 1:
            raise DataError(f"calibration_images: expected 1 or more, got {count}")
        inputs: list[Tensor] = []
        for path in random.Random(seed).sample(list(self.images), len(self.images)):
            if len(inputs) == count:
                break
            try:
                inputs.append(self.prepare(path))
            except DataError as error:
                _log.warning("%s; not used for calibration", error)
        if not inputs:
            raise DataError(f"{self.source}: no image to calibrate with: expected one or more that can be read")
        if len(inputs) < count:
            _log.warning("%s: calibrates with its %d images: expected %d", self.source, len(inputs), count)
        return inputs


def load_calibration_data(
    network: Network,
    data: Dataset | StrPath,
    *,
    subset: str = "valid",
    protocol: Protocol | str = Protocol.DARKNET,
    map_classes: str = "",
    letterbox: bool | None = None,
    progress: bool = True,
) -> CalibrationData:
    """Load the data of a detector, as ``evaluate`` does, or of a classifier, as ``evaluate_accuracy_on_data`` does.

    Args:
        network: The network.
        data: A data set, or what ``load_dataset`` reads; labels may be missing. For a classifier a .data file, or a
            list or folder of images without labels.
        subset: The part of ``data`` to use, for a detector.
        protocol: How mAP is computed.
        map_classes: The network's classes of the data set's, see ``evaluate``.
        letterbox: Whether images are letterboxed; None: by the cfg and dialect.
        progress: Show progress bars on stderr if that is a terminal.

    Raises:
        DataError: The data cannot be read.
    """
    if network.heads:
        return _load_detection_data(network, data, subset, Protocol(protocol), map_classes, letterbox, progress)
    return _load_classification_data(network, data, letterbox, progress)


def _load_detection_data(
    network: Network,
    data: Dataset | StrPath,
    subset: str,
    protocol: Protocol,
    map_classes: str,
    letterbox: bool | None,
    progress: bool,
) -> CalibrationData:
    detector = Detector(network, letterbox=letterbox)
    dataset = load_dataset(data, subset, progress=progress) if isinstance(data, str | os.PathLike) else data
    measure = None
    if any(len(sample.targets) for sample in dataset):
        dataset = prepare_dataset(network, dataset, map_classes=map_classes, progress=progress)
        measure = functools.partial(_measure_map, dataset=dataset, protocol=protocol, progress=progress)

    def prepare(path: str) -> Tensor:
        return detector.preprocess([detector.read_image(path)]).cpu()

    images = [sample.image for sample in dataset]
    return CalibrationData(
        dataset.source, images, [*dataset.files()], prepare, measure, str(protocol) if measure else ""
    )


def _measure_map(model: ExportedModel, *, dataset: Dataset, protocol: Protocol, progress: bool) -> Scores:
    evaluation = evaluate(model, dataset, protocol=protocol, progress=progress)
    if evaluation.protocol is Protocol.COCO:
        return {"mAP@0.50:0.95": evaluation.map, "mAP@0.50": evaluation.map50}
    return {"mAP@0.50": evaluation.map}


def _load_classification_data(
    network: Network, data: Dataset | StrPath, letterbox: bool | None, progress: bool
) -> CalibrationData:
    classifier = Classifier(network, letterbox=letterbox)
    measure = None
    files: Iterable[str]
    if isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".data"):
        source = os.fspath(data)
        entries = read_data_file(data)
        images = read_list(entries.get_path("valid"))
        files = [source, entries.get_path("valid"), *images]
        if "labels" in entries.values:
            files = [*files, entries.get_path("labels")]
            measure = functools.partial(_measure_accuracy, data=source)
    else:
        dataset = load_dataset(data, progress=progress) if isinstance(data, str | os.PathLike) else data
        source, images, files = dataset.source, [sample.image for sample in dataset], dataset.files()

    def prepare(path: str) -> Tensor:
        return classifier.prepare(classifier.read_image(path))[None].cpu()

    return CalibrationData(source, images, [*files], prepare, measure, "top 1" if measure else "")


def _measure_accuracy(model: ExportedModel, *, data: str) -> Scores:
    _, steps = evaluate_accuracy_on_data(model, data, k=1)
    last = list(steps)[-1:]
    if not last:
        raise DataError(f"{data}: no images to evaluate on")
    return {"top-1": last[0].top1}
