"""``training_images``: what a network would be trained on, to look at."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import torch

from .._typing import StrPath
from ..data.classification_list import ClassificationList
from ..data.dataset import Dataset
from ..images.contact_sheets import SheetImage
from ..network import Network
from .batches import create_classification_loader, create_detection_loader, read_classifier_data
from .loader import Loader


def training_images(
    network: Network,
    data: Dataset | StrPath,
    *,
    classification: ClassificationList | None = None,
    seed: int = 0,
) -> Iterator[SheetImage]:
    """Yield the images of a training run without end, augmented by the options of the network's cfg.

    Args:
        network: the network; a detector's images have boxes.
        data: the data set of a detector; the .data file of a classifier.
        classification: images with a class and no box that a detector is trained on as well.
        seed: seed of the run.

    Raises:
        DataError: the data set is empty, or does not fit the network.
    """
    loader: Loader
    if isinstance(data, Dataset):
        loader = create_detection_loader(network, data, classification=classification, seed=seed, workers=0, until=None)
    else:
        images, names = read_classifier_data(data, "train")
        loader = create_classification_loader(network, images, names, seed=seed, workers=0, until=None)
    examples = (
        (x, target, files)
        for batch in loader
        for (xs, targets), sources in zip(batch.pairs, batch.images, strict=True)
        for x, target, files in zip(xs, targets, sources, strict=True)
    )
    for x, target, files in examples:
        objects = target.numpy() if isinstance(data, Dataset) else np.zeros((0, 5), np.float32)
        objects = objects[objects[:, 0] <= 1]  # without classes that have no box
        channels = x[:3] if len(x) >= 3 else x[:1].expand(3, -1, -1)
        pixels = (channels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        name = " + ".join(pathlib.PurePath(file).name for file in files)
        yield SheetImage(name, objects[:, :4], objects[:, 4], pixels=pixels)
