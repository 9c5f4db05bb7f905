"""Sheets: sixteen images side by side with the boxes of their labels, or of what was found."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from ..images import drawing
from ..images.reading import read_image
from .scores import Evaluation, Material

_ACROSS, _IMAGES = 4, 16
_WIDTH, _HEIGHT, _CAPTION, _GAP = 400, 300, 24, 8  # pixels

Boxes = tuple[list[list[float]], list[int], list[float]]  # corners relative to the image, classes, confidences


def labels(evaluation: Evaluation) -> Image.Image:
    """The first images with objects, and their labels."""
    table = evaluation.material.objects

    def boxes(image: int) -> Boxes:
        rows = np.flatnonzero(table.image == image)
        return _corners(table.boxes[rows]), table.classes[rows].tolist(), [1.0] * len(rows)

    return _sheet(evaluation.material, boxes, confidences=False)


def predictions(evaluation: Evaluation) -> Image.Image:
    """The same images with what was found above the confidence threshold."""
    found = evaluation.material.found

    def boxes(image: int) -> Boxes:
        rows = np.flatnonzero((found.image == image) & (found.confidence > evaluation.threshold))
        return _corners(found.boxes[rows]), found.classes[rows].tolist(), found.confidence[rows].tolist()

    return _sheet(evaluation.material, boxes, confidences=True)


def _sheet(material: Material, boxes: Callable[[int], Boxes], *, confidences: bool) -> Image.Image:
    shown = chosen([len(sample.targets) for sample in material.dataset])
    across = min(_ACROSS, max(1, len(shown)))
    down = -(-max(1, len(shown)) // across)
    step_x, step_y = _WIDTH + _GAP, _HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (across * step_x + _GAP, down * step_y + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    names = dict(enumerate(material.dataset.names))
    for place, image in enumerate(shown):
        left, top = _GAP + place % across * step_x, _GAP + place // across * step_y
        name = material.dataset.samples[image].image
        cell = _cell(name, boxes(image), names, confidences)
        pen.rectangle((left, top, left + _WIDTH - 1, top + _HEIGHT - 1), fill=(240, 242, 244))
        sheet.paste(cell, (left + (_WIDTH - cell.width) // 2, top + (_HEIGHT - cell.height) // 2))
        pen.text((left, top + _HEIGHT + 4), _short(name), fill=(70, 76, 84), font=font)
    return sheet


def chosen(objects: Sequence[int]) -> list[int]:
    """The images that are shown: spread over the data set, those with objects first."""
    with_objects = [image for image, count in enumerate(objects) if count]
    pool = with_objects if len(with_objects) >= _IMAGES else list(range(len(objects)))
    return [pool[place * len(pool) // _IMAGES] for place in range(_IMAGES)] if len(pool) > _IMAGES else pool


def _cell(name: str, boxes: Boxes, names: dict[int, str], confidences: bool) -> Image.Image:
    try:
        image = Image.fromarray(read_image(name, 3))
    except DataError:
        return Image.new("RGB", (_WIDTH, _HEIGHT), (210, 214, 218))
    scale = min(_WIDTH / image.width, _HEIGHT / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    corners, classes, confidence = boxes
    edges = [[edge * size[i % 2] for i, edge in enumerate(box)] for box in corners]
    return drawing.draw_boxes(
        small, edges, classes, confidence, names, confidences=confidences, line_width=2, font_size=12
    )


def _corners(xywh: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[list[float]]:
    half = xywh[:, 2:] / 2
    corners: list[list[float]] = np.concatenate((xywh[:, :2] - half, xywh[:, :2] + half), axis=1).tolist()
    return corners


def _short(path: str, most: int = 52) -> str:
    name = pathlib.PurePath(path).name
    return name if len(name) <= most else f"{name[: most - 2]}.."
