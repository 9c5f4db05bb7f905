"""Contact sheets of up to sixteen images with their ground-truth boxes, and with their detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from ..images.contact_sheets import IMAGES, SheetImage, draw_sheet
from .scores import Evaluation


def draw_targets(evaluation: Evaluation) -> Image.Image:
    """Draw a sheet of images with their ground-truth boxes."""
    targets = evaluation.data.targets

    def cell(number: int, image: str) -> SheetImage:
        rows = np.flatnonzero(targets.image == number)
        return SheetImage(image, targets.boxes[rows], targets.classes[rows])

    return _draw(evaluation, cell)


def draw_detections(evaluation: Evaluation) -> Image.Image:
    """Draw a sheet of the same images with the detections above the score threshold."""
    found = evaluation.data.detections

    def cell(number: int, image: str) -> SheetImage:
        rows = np.flatnonzero((found.image == number) & (found.confidence > evaluation.threshold))
        return SheetImage(image, found.boxes[rows], found.classes[rows], found.confidence[rows])

    return _draw(evaluation, cell)


def _draw(evaluation: Evaluation, cell: Callable[[int, str], SheetImage]) -> Image.Image:
    dataset = evaluation.data.dataset
    numbers = select_images([len(sample.targets) for sample in dataset])
    cells = [cell(number, dataset.samples[number].image) for number in numbers]
    return draw_sheet(cells, dict(enumerate(dataset.names)))


def select_images(num_targets: Sequence[int]) -> list[int]:
    """Select up to sixteen images spread over the data set; only images with targets if there are enough."""
    with_targets = [image for image, count in enumerate(num_targets) if count]
    pool = with_targets if len(with_targets) >= IMAGES else list(range(len(num_targets)))
    return [pool[index * len(pool) // IMAGES] for index in range(IMAGES)] if len(pool) > IMAGES else pool
