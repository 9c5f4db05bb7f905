"""Contact sheets: images side by side with boxes on them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from . import drawing
from .reading import ImageArray, read_image

IMAGES = 16  # of a sheet, at most
_COLUMNS = 4
_WIDTH, _HEIGHT, _CAPTION, _GAP = 400, 300, 24, 8  # of a cell, in pixels
_GREY = (210, 214, 218)  # instead of an image that cannot be read


class SheetImage(NamedTuple):
    """An image of a sheet, and the boxes on it.

    Attributes:
        image: path of the image.
        boxes: float [n, 4], (cx, cy, w, h) relative to the image.
        classes: class of each box, [n].
        confidences: score of each box, [n]; None: none is drawn.
        pixels: uint8 [height, width, 3], drawn instead of the file; ``image`` is the text below it then.
    """

    image: str
    boxes: npt.NDArray[np.floating]
    classes: npt.NDArray[np.number]
    confidences: npt.NDArray[np.floating] | None = None
    pixels: ImageArray | None = None


def draw_sheet(images: Iterable[SheetImage], names: Mapping[int, str]) -> Image.Image:
    """Draw up to sixteen images, each with the name of its file; one that cannot be read is grey.

    Args:
        images: the images.
        names: names of the classes by number.
    """
    cells = list(images)[:IMAGES]
    columns = min(_COLUMNS, max(1, len(cells)))
    rows = -(-max(1, len(cells)) // columns)
    step_x, step_y = _WIDTH + _GAP, _HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for index, cell in enumerate(cells):
        left, top = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        image = _draw_cell(cell, names)
        pen.rectangle((left, top, left + _WIDTH - 1, top + _HEIGHT - 1), fill=(240, 242, 244))
        sheet.paste(image, (left + (_WIDTH - image.width) // 2, top + (_HEIGHT - image.height) // 2))
        pen.text((left, top + _HEIGHT + 4), _short(cell.image), fill=(70, 76, 84), font=font)
    return sheet


def _draw_cell(cell: SheetImage, names: Mapping[int, str]) -> Image.Image:
    try:
        image = Image.fromarray(read_image(cell.image, 3) if cell.pixels is None else cell.pixels)
    except DataError:
        return Image.new("RGB", (_WIDTH, _HEIGHT), _GREY)
    scale = min(_WIDTH / image.width, _HEIGHT / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    half = cell.boxes[:, 2:] / 2
    corners = np.concatenate((cell.boxes[:, :2] - half, cell.boxes[:, :2] + half), axis=1).tolist()
    edges = [[edge * size[i % 2] for i, edge in enumerate(box)] for box in corners]
    has_scores = cell.confidences is not None
    scores = cell.confidences.tolist() if cell.confidences is not None else [1.0] * len(edges)
    classes = [int(cls) for cls in cell.classes]
    return drawing.draw_boxes(small, edges, classes, scores, names, confidences=has_scores, line_width=2, font_size=12)


def _short(path: str, limit: int = 52) -> str:
    name = pathlib.PurePath(path).name
    return name if len(name) <= limit else f"{name[: limit - 2]}.."
