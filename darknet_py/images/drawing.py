"""Boxes on images, in Darknet's class colours, with labels that can be read at any size.

Rows of one box share a rectangle and a label, as in Darknet: ``dog: 0.97, cat``. Colours and order are
Darknet's (``image.c get_color``, ``draw_detections_v3``: weakest first, so that the strongest lies on
top); lines and letters grow with the image, and a label looks for a place inside the image that
covers no other label.
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
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom belong to it

_PALETTE = ((1, 0, 1), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))  # red, green, blue
_SMALLEST = 10  # pixels of the smallest letters that can be read


def colour(cls: int, classes: int) -> Colour:
    """Red, green, blue (0..255) of a class among ``classes``."""
    at = 5 * (cls * 123457 % classes) / classes
    low = int(at)
    share = at - low
    red, green, blue = (
        (1 - share) * a + share * b for a, b in zip(_PALETTE[low], _PALETTE[min(low + 1, 5)], strict=True)
    )
    return int(255 * red), int(255 * green), int(255 * blue)


@dataclass(frozen=True)
class _Mark:
    """One box as it is drawn; ``words``: its classes, strongest first."""

    box: Rectangle
    words: tuple[str, ...]
    confidence: str
    colour: Colour


@dataclass(frozen=True)
class _Label:
    """A text with its font and its place."""

    text: str
    font: fonts.Font
    place: Rectangle
    colour: Colour


def plot(
    image: npt.NDArray[np.uint8],
    xyxy: Sequence[Sequence[float]],
    cls: Sequence[int],
    conf: Sequence[float],
    names: Mapping[int, str],
    *,
    box: Sequence[int] | None = None,
    labels: bool = True,
    confidences: bool = True,
    line_width: int | None = None,
    font: StrPath | None = None,
    font_size: int | None = None,
) -> Image.Image:
    """Draw on a copy of ``image`` [height, width, channels] (RGB, grey, or the first three of more).

    ``xyxy``: pixels; what lies outside is cut off. ``box``: which rows are one box, absent: none. A name
    whose letters no font of the machine has is written as ``class 7``; ``font`` or ``$DARKNET_PY_FONT``
    names a font file that has them. ``line_width`` and ``font_size`` are pixels, by default from the
    image's size.
    """
    canvas = _canvas(image)
    pen = ImageDraw.Draw(canvas)
    mean = (canvas.width + canvas.height) / 2
    width = line_width or max(1, round(0.003 * mean))
    size = font_size or max(_SMALLEST, round(min(0.022 * mean, min(canvas.size) / 5)))
    marks = _marks(xyxy, cls, conf, names, box or range(len(cls)), canvas.size, font, size, confidences)
    for mark in reversed(marks):
        left, top, right, bottom = mark.box
        inset = min(width, (min(right - left, bottom - top) + 2) // 2)
        pen.rectangle(mark.box, outline=mark.colour, width=max(1, inset))
    for label in reversed(_labels(marks, canvas.size, width, font, size) if labels else []):
        ink = (0, 0, 0) if _luminance(label.colour) > 0.179 else (255, 255, 255)
        left, top, right, bottom = label.place
        pen.rectangle(label.place, fill=label.colour)
        pen.text(((left + right + 1) / 2, (top + bottom + 1) / 2), label.text, fill=ink, font=label.font, anchor="mm")
    return canvas


def _canvas(image: npt.NDArray[np.uint8]) -> Image.Image:
    planes = image[:, :, None] if image.ndim == 2 else image
    planes = planes[:, :, :3] if planes.shape[2] >= 3 else planes[:, :, :1].repeat(3, axis=2)
    return Image.fromarray(np.array(planes, order="C"))


def _marks(
    xyxy: Sequence[Sequence[float]],
    cls: Sequence[int],
    conf: Sequence[float],
    names: Mapping[int, str],
    box: Sequence[int],
    size: tuple[int, int],
    font: StrPath | None,
    letters: int,
    confidences: bool,
) -> list[_Mark]:
    """One mark a box, strongest first; boxes that lie outside the image are left out."""
    rows: dict[int, list[int]] = {}
    for row in sorted(range(len(cls)), key=lambda i: -conf[i]):
        rows.setdefault(box[row], []).append(row)
    marks = []
    for first, *others in rows.values():
        place = _clip(xyxy[first], size)
        if place is None:
            continue
        words = tuple(
            name if fonts.find(name, letters, font) else f"class {k}"
            for k, name in ((cls[i], names.get(cls[i], str(cls[i]))) for i in (first, *others))
        )
        shown = f"{conf[first]:.2f}" if confidences else ""
        marks.append(_Mark(place, words, shown, colour(cls[first], max(len(names), cls[first] + 1))))
    return marks


def _clip(edges: Sequence[float], size: tuple[int, int]) -> Rectangle | None:
    if not all(np.isfinite(edges)) or edges[2] < 0 or edges[3] < 0 or edges[0] >= size[0] or edges[1] >= size[1]:
        return None
    left, top, right, bottom = (min(max(int(edge), 0), size[i % 2] - 1) for i, edge in enumerate(edges))
    return left, top, max(left, right), max(top, bottom)


def _labels(
    marks: Sequence[_Mark], size: tuple[int, int], line: int, path: StrPath | None, letters: int
) -> list[_Label]:
    """The marks' labels, strongest first, which has the choice of places."""
    labels: list[_Label] = []
    for mark in marks:
        font = fonts.find("".join(mark.words), letters, path)
        if font is None:  # scripts that no one font has together
            mark = replace(mark, words=mark.words[:1])
            font = fonts.find(mark.words[0], letters, path) or fonts.bundled(letters)
        margin = max(1, letters // 6)
        text = _fitting(mark, font, size[0] - 2 * margin)
        # One height for all labels, whatever letters they have: tails and accents included.
        low, high = font.getbbox("Ågjy")[1], font.getbbox("Ågjy")[3]
        extent = (int(font.getlength(text)) + 2 * margin, int(high - low) + 2 * margin)
        places = [_inside(corner, extent, size) for corner in _corners(mark.box, extent, line)]
        taken = [label.place for label in labels]
        place = min(places, key=lambda p: sum(_shared(p, other) for other in taken))
        labels.append(_Label(text, font, place, mark.colour))
    return labels


def _fitting(mark: _Mark, font: fonts.Font, width: int) -> str:
    """The longest form of the label that ``width`` holds: further classes go first, then the confidence."""
    name = mark.words[0]
    strong = f"{name}: {mark.confidence}" if mark.confidence else name
    forms = [", ".join((strong, *mark.words[1:])), strong, name]
    forms += [name[:count] + ".." for count in range(len(name) - 1, 0, -1)]
    return next((form for form in forms if font.getlength(form) <= width), name[:1])


def _corners(box: Rectangle, extent: tuple[int, int], line: int) -> list[tuple[int, int]]:
    """Left top corners for a label of a box, the best first: above, inside, below; left, then right."""
    left, top, right, bottom = box
    across = (left, right + 1 - extent[0])
    down = (top - extent[1], top, bottom + 1 - extent[1], bottom + 1, top + extent[1] + line)
    return [(x, y) for y in down for x in across]


def _inside(corner: tuple[int, int], extent: tuple[int, int], size: tuple[int, int]) -> Rectangle:
    left, top = (max(0, min(corner[i], size[i] - extent[i])) for i in (0, 1))
    return left, top, left + extent[0] - 1, top + extent[1] - 1


def _shared(a: Rectangle, b: Rectangle) -> int:
    """Pixels that two rectangles have in common."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(0, width) * max(0, height)


def _luminance(rgb: Colour) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2): letters are black above 0.179, else white."""
    linear: Any = (np.array(rgb) / 255) ** 2.2
    return float(linear @ (0.2126, 0.7152, 0.0722))
