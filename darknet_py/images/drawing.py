"""Draw detections on an image: Darknet's class colours, and labels that are legible at every image size.

Rows of one box share a rectangle and a label, as in Darknet: ``dog: 0.97, cat``. Colours and drawing order are
Darknet's (``image.c get_color``, ``draw_detections_v3``): boxes of lower confidence first, so that the highest is on
top. Line width and font size scale with the image, and each label is placed inside the image where it overlaps the
other labels least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .._typing import StrPath
from . import fonts

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom inclusive

_PALETTE = ((1, 0, 1), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))  # red, green, blue
_MIN_FONT_SIZE = 10  # pixels


def class_colour(cls: int, classes: int) -> Colour:
    """Return the colour of class ``cls`` of ``classes``, as ``get_color`` does: red, green, blue in 0..255."""
    position = 5 * (cls * 123457 % classes) / classes
    low = int(position)
    weight = position - low
    red, green, blue = (
        (1 - weight) * a + weight * b for a, b in zip(_PALETTE[low], _PALETTE[min(low + 1, 5)], strict=True)
    )
    return int(255 * red), int(255 * green), int(255 * blue)


@dataclass(frozen=True)
class _LabelledBox:
    """A box to draw; ``class_names``: its classes, highest confidence first."""

    box: Rectangle
    class_names: tuple[str, ...]
    confidence: str
    colour: Colour


@dataclass(frozen=True)
class _Label:
    """A text with its font, and the rectangle that it fills."""

    text: str
    font: fonts.Font
    rectangle: Rectangle
    colour: Colour


def draw_boxes(
    image: npt.NDArray[np.uint8],
    xyxy: Sequence[Sequence[float]],
    cls: Sequence[int],
    conf: Sequence[float],
    names: Mapping[int, str],
    *,
    box: Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    labels: bool = True,
    confidences: bool = True,
    line_width: int | None = None,
    font: StrPath | None = None,
    font_size: int | None = None,
) -> Image.Image:
    """Draw labelled boxes on a copy of an image.

    Args:
        image: uint8 [height, width] or [height, width, channels], RGB or grey; channels after the third are ignored.
        xyxy: (x1, y1, x2, y2) of each row in pixels; clipped to the image.
        cls: class of each row.
        conf: confidence of each row, 0..1.
        names: name of each class. If no installed font has its letters, a class is labelled ``class 7``.
        box: index of the box that a row belongs to; by default each row is a separate box.
        ids: number of each row's track, which is written behind the name of the best class; negative for none.
        labels: draw labels.
        confidences: write the confidence behind the name of the best class.
        line_width: pixels; by default 0.3 % of the image's mean side.
        font: font file to use before others; see ``fonts.find_font``.
        font_size: pixels; by default 2.2 % of the image's mean side.

    Returns:
        An RGB image of the same size.

    Raises:
        DataError: the font file cannot be read.
    """
    canvas = _to_rgb(image)
    pen = ImageDraw.Draw(canvas)
    mean_side = (canvas.width + canvas.height) / 2
    width = line_width or max(1, round(0.003 * mean_side))
    size = font_size or max(_MIN_FONT_SIZE, round(min(0.022 * mean_side, min(canvas.size) / 5)))
    boxes = _group_rows(xyxy, cls, conf, names, box or range(len(cls)), canvas.size, font, size, confidences, ids)
    for item in reversed(boxes):
        left, top, right, bottom = item.box
        inset = min(width, (min(right - left, bottom - top) + 2) // 2)
        pen.rectangle(item.box, outline=item.colour, width=max(1, inset))
    for label in reversed(_place_labels(boxes, canvas.size, width, font, size) if labels else []):
        text_colour = (0, 0, 0) if _luminance(label.colour) > 0.179 else (255, 255, 255)
        left, top, right, bottom = label.rectangle
        centre = ((left + right + 1) / 2, (top + bottom + 1) / 2)
        pen.rectangle(label.rectangle, fill=label.colour)
        pen.text(centre, label.text, fill=text_colour, font=label.font, anchor="mm")
    return canvas


def _to_rgb(image: npt.NDArray[np.uint8]) -> Image.Image:
    pixels = image[:, :, None] if image.ndim == 2 else image
    pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1].repeat(3, axis=2)
    return Image.fromarray(np.array(pixels, order="C"))


def _group_rows(
    xyxy: Sequence[Sequence[float]],
    cls: Sequence[int],
    conf: Sequence[float],
    names: Mapping[int, str],
    box: Sequence[int],
    size: tuple[int, int],
    font: StrPath | None,
    font_size: int,
    confidences: bool,
    ids: Sequence[int] | None = None,
) -> list[_LabelledBox]:
    """Group rows by box, highest confidence first; boxes outside the image are dropped."""
    rows: dict[int, list[int]] = {}
    for row in sorted(range(len(cls)), key=lambda i: -conf[i]):
        rows.setdefault(box[row], []).append(row)
    boxes = []
    for first, *others in rows.values():
        rectangle = _clip(xyxy[first], size)
        if rectangle is None:
            continue
        class_names = tuple(
            name if fonts.find_font(name, font_size, font) else f"class {k}"
            for k, name in ((cls[i], names.get(cls[i], str(cls[i]))) for i in (first, *others))
        )
        if ids is not None and ids[first] >= 0:
            class_names = (f"{class_names[0]} #{ids[first]}", *class_names[1:])
        confidence = f"{conf[first]:.2f}" if confidences else ""
        colour = class_colour(cls[first], max(len(names), cls[first] + 1))
        boxes.append(_LabelledBox(rectangle, class_names, confidence, colour))
    return boxes


def _clip(edges: Sequence[float], size: tuple[int, int]) -> Rectangle | None:
    if not all(np.isfinite(edges)) or edges[2] < 0 or edges[3] < 0 or edges[0] >= size[0] or edges[1] >= size[1]:
        return None
    left, top, right, bottom = (min(max(int(edge), 0), size[i % 2] - 1) for i, edge in enumerate(edges))
    return left, top, max(left, right), max(top, bottom)


def _place_labels(
    boxes: Sequence[_LabelledBox], size: tuple[int, int], line_width: int, font_path: StrPath | None, font_size: int
) -> list[_Label]:
    """Place the label of each box, highest confidence first, where it overlaps earlier labels least."""
    labels: list[_Label] = []
    for box in boxes:
        font = fonts.find_font("".join(box.class_names), font_size, font_path)
        if font is None:  # no single font has all scripts: keep the best class only
            box = replace(box, class_names=box.class_names[:1])
            font = fonts.find_font(box.class_names[0], font_size, font_path) or fonts.default_font(font_size)
        margin = max(1, font_size // 6)
        text = _fit_text(box, font, size[0] - 2 * margin)
        # All labels have the height of a text with accents and descenders.
        ascent, descent = font.getbbox("Ågjy")[1], font.getbbox("Ågjy")[3]
        extent = (int(font.getlength(text)) + 2 * margin, int(descent - ascent) + 2 * margin)
        candidates = [_move_inside(corner, extent, size) for corner in _label_corners(box.box, extent, line_width)]
        taken = [label.rectangle for label in labels]
        best = min(candidates, key=lambda c: sum(_intersection(c, other) for other in taken))
        labels.append(_Label(text, font, best, box.colour))
    return labels


def _fit_text(box: _LabelledBox, font: fonts.Font, width: int) -> str:
    """The longest form of a label that fits ``width``: other classes are dropped first, then the confidence."""
    name = box.class_names[0]
    best_class = f"{name}: {box.confidence}" if box.confidence else name
    forms = [", ".join((best_class, *box.class_names[1:])), best_class, name]
    forms += [name[:count] + ".." for count in range(len(name) - 1, 0, -1)]
    return next((form for form in forms if font.getlength(form) <= width), name[:1])


def _label_corners(box: Rectangle, extent: tuple[int, int], line_width: int) -> list[tuple[int, int]]:
    """Left top corners to try for a label, the preferred first: above, inside, below the box; left, then right."""
    left, top, right, bottom = box
    xs = (left, right + 1 - extent[0])
    ys = (top - extent[1], top, bottom + 1 - extent[1], bottom + 1, top + extent[1] + line_width)
    return [(x, y) for y in ys for x in xs]


def _move_inside(corner: tuple[int, int], extent: tuple[int, int], size: tuple[int, int]) -> Rectangle:
    left, top = (max(0, min(corner[i], size[i] - extent[i])) for i in (0, 1))
    return left, top, left + extent[0] - 1, top + extent[1] - 1


def _intersection(a: Rectangle, b: Rectangle) -> int:
    """Area of the intersection of two rectangles in pixels."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(0, width) * max(0, height)


def _luminance(rgb: Colour) -> float:
    """Relative luminance (WCAG 2), 0 black to 1 white; text is black on a background above 0.179, else white."""
    linear: Any = (np.array(rgb) / 255) ** 2.2
    return float(linear @ (0.2126, 0.7152, 0.0722))
