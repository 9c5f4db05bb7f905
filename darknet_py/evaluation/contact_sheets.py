"""Contact sheets: up to sixteen images side by side with their ground-truth boxes or their detections."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from ..images import drawing
from ..images.reading import read_image
from .scores import Evaluation, EvaluationData

_COLUMNS = 4
_IMAGES = 16
_WIDTH, _HEIGHT, _CAPTION, _GAP = 400, 300, 24, 8  # of a cell, in pixels

SheetBoxes = tuple[list[list[float]], list[int], list[float]]  # (x1, y1, x2, y2) relative to the image, classes, scores


def draw_targets(evaluation: Evaluation) -> Image.Image:
    """Draw a sheet of images with their ground-truth boxes."""
    targets = evaluation.data.targets

    def boxes(image: int) -> SheetBoxes:
        rows = np.flatnonzero(targets.image == image)
        return _corners(targets.boxes[rows]), targets.classes[rows].tolist(), [1.0] * len(rows)

    return _draw(evaluation.data, boxes, confidences=False)


def draw_detections(evaluation: Evaluation) -> Image.Image:
    """Draw a sheet of the same images with the detections above the score threshold."""
    detections = evaluation.data.detections

    def boxes(image: int) -> SheetBoxes:
        rows = np.flatnonzero((detections.image == image) & (detections.confidence > evaluation.threshold))
        return _corners(detections.boxes[rows]), detections.classes[rows].tolist(), detections.confidence[rows].tolist()

    return _draw(evaluation.data, boxes, confidences=True)


def _draw(data: EvaluationData, boxes: Callable[[int], SheetBoxes], *, confidences: bool) -> Image.Image:
    images = select_images([len(sample.targets) for sample in data.dataset])
    columns = min(_COLUMNS, max(1, len(images)))
    rows = -(-max(1, len(images)) // columns)
    step_x, step_y = _WIDTH + _GAP, _HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    names = dict(enumerate(data.dataset.names))
    for index, image in enumerate(images):
        left, top = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        name = data.dataset.samples[image].image
        cell = _draw_cell(name, boxes(image), names, confidences)
        pen.rectangle((left, top, left + _WIDTH - 1, top + _HEIGHT - 1), fill=(240, 242, 244))
        sheet.paste(cell, (left + (_WIDTH - cell.width) // 2, top + (_HEIGHT - cell.height) // 2))
        pen.text((left, top + _HEIGHT + 4), _short(name), fill=(70, 76, 84), font=font)
    return sheet


def select_images(num_targets: Sequence[int]) -> list[int]:
    """Select up to sixteen images spread over the data set; only images with targets if there are enough."""
    with_targets = [image for image, count in enumerate(num_targets) if count]
    pool = with_targets if len(with_targets) >= _IMAGES else list(range(len(num_targets)))
    return [pool[index * len(pool) // _IMAGES] for index in range(_IMAGES)] if len(pool) > _IMAGES else pool


def _draw_cell(name: str, boxes: SheetBoxes, names: dict[int, str], confidences: bool) -> Image.Image:
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


def _short(path: str, limit: int = 52) -> str:
    name = pathlib.PurePath(path).name
    return name if len(name) <= limit else f"{name[: limit - 2]}.."
