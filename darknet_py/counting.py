"""``LineCounter`` and ``ZoneCounter``: count tracked objects that cross a line, or enter and leave a polygon.

An object is where the centre of its box is. It has crossed when its centre is farther from the line than a tenth of the
shorter side of its box, so that an object that stays on the line is not counted again and again. It counts as the class
in which its track has the highest sum of confidences so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from .errors import DataError
from .images import fonts
from .results.results import Results

Point = tuple[float, float]

_MARGIN = 0.1  # of the shorter side of a box: how far beyond a line it has crossed
_MAX_TRACKS = 10_000  # that are remembered, for streams without an end
_COLOUR = (255, 200, 0)


class _Counter:
    """What lines and zones have in common: on which side the centre of each track is, and the counts by class."""

    kind: str

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = tuple(points)
        if not all(math.isfinite(value) for point in self.points for value in point):
            raise DataError(f"{self.kind}: expected finite coordinates, got {_format(self.points)}")
        if len(set(self.points)) < len(self.points):
            raise DataError(f"{self.kind}: expected different points, got {_format(self.points)}")
        self.entered: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self._places: dict[int, tuple[Point, bool]] = {}  # by track: the last centre beyond the margin, and its side
        self._classes: dict[int, dict[str, float]] = {}  # by track: the sum of its confidence in each class

    def update(self, result: Results) -> None:
        """Count the next frame. Raises DataError for results without tracks."""
        boxes = result.boxes
        if boxes.id is None:
            raise DataError(f"{self.kind}: expected the results of Tracker.update, got boxes without tracks")
        corners = self.pixels(result.orig_shape)
        seen: set[int] = set()
        rows = zip(boxes.id.tolist(), boxes.cls.tolist(), boxes.conf.tolist(), boxes.xywh.tolist(), strict=True)
        for number, cls, conf, (x, y, width, height) in rows:
            if number >= 0 and number not in seen:  # the first row of a box is its best class
                seen.add(number)
                sums = self._classes.pop(number, {})  # and back at the end: the first was not seen for longest
                sums[result.names[cls]] = sums.get(result.names[cls], 0) + conf
                self._classes[number] = sums
                name = max(sums, key=lambda name: sums[name])
                self._update_track(number, name, (x, y), _MARGIN * min(width, height), corners)
        while len(self._classes) > _MAX_TRACKS:
            oldest = next(iter(self._classes))
            del self._classes[oldest]
            self._places.pop(oldest, None)

    def pixels(self, shape: tuple[int, int]) -> list[Point]:
        """The points in pixels of an image of this height and width."""
        if all(0 <= value <= 1 for point in self.points for value in point):
            return [(x * shape[1], y * shape[0]) for x, y in self.points]
        return list(self.points)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values: kind, points as given, and by class name ``in`` and ``out``."""
        names = dict.fromkeys((*self.entered, *self.left))
        classes = {name: {"in": self.entered.get(name, 0), "out": self.left.get(name, 0)} for name in names}
        return {"kind": self.kind, "points": [list(point) for point in self.points], "classes": classes}

    def __str__(self) -> str:
        return f"in {_describe(self.entered)}, out {_describe(self.left)}"

    def _place(self, number: int, centre: Point, side: bool) -> tuple[Point, bool]:
        """Note where a track is, and return where it was."""
        before = self._places.get(number, (centre, side))
        self._places[number] = centre, side
        return before

    def _draw(self, pen: ImageDraw.ImageDraw, corners: Sequence[Point], width: int) -> None:
        raise NotImplementedError

    def _label_centre(self, corners: Sequence[Point]) -> Point:
        raise NotImplementedError

    def _update_track(self, number: int, name: str, centre: Point, margin: float, corners: Sequence[Point]) -> None:
        raise NotImplementedError


class LineCounter(_Counter):
    """Counts objects that cross a line from one point to another.

    ``in`` is the direction from the left of the line to its right, as seen along the line: for a line drawn from left
    to right it is downwards, for one drawn from top to bottom it is leftwards.

    Args:
        x1, y1, x2, y2: The points; in pixels, or relative to the image if all four are in 0..1.

    Raises:
        DataError: The points are equal or not finite.
    """

    kind = "line"

    def __init__(self, x1: float, y1: float, x2: float, y2: float) -> None:
        super().__init__([(x1, y1), (x2, y2)])

    def _update_track(self, number: int, name: str, centre: Point, margin: float, corners: Sequence[Point]) -> None:
        start, end = corners
        distance = _cross(start, end, centre) / math.dist(start, end)  # positive on the right, as y points down
        if abs(distance) <= margin:
            return
        side = distance > 0
        before, side_before = self._place(number, centre, side)
        if side != side_before and _cross(before, centre, start) * _cross(before, centre, end) <= 0:
            counts = self.entered if side else self.left
            counts[name] = counts.get(name, 0) + 1

    def _draw(self, pen: ImageDraw.ImageDraw, corners: Sequence[Point], width: int) -> None:
        pen.line(list(corners), fill=_COLOUR, width=width)

    def _label_centre(self, corners: Sequence[Point]) -> Point:
        (x1, y1), (x2, y2) = corners
        return (x1 + x2) / 2, (y1 + y2) / 2


class ZoneCounter(_Counter):
    """Counts objects that enter and leave a polygon. An object that appears inside has not entered.

    Args:
        points: Three or more corners (x, y); in pixels, or relative to the image if all numbers are in 0..1.

    Attributes:
        inside: By class name, the tracked objects of the last frame that are inside.

    Raises:
        DataError: There are fewer than three points, two are equal, all are on one line, or one is not finite.
    """

    kind = "zone"

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        if len(self.points) < 3:
            raise DataError(f"zone: expected three or more points, got {_format(self.points)}")
        if not any(_cross(self.points[0], self.points[1], point) for point in self.points):
            raise DataError(f"zone: expected points that are not on one line, got {_format(self.points)}")
        self.inside: dict[str, int] = {}

    def update(self, result: Results) -> None:
        """Count the next frame. Raises DataError for results without tracks."""
        self.inside = {}
        super().update(result)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values: kind, points as given, by class name ``in`` and ``out``, and ``inside``."""
        return super().to_dict() | {"inside": dict(self.inside)}

    def __str__(self) -> str:
        return f"{super().__str__()}, inside {_describe(self.inside)}"

    def _update_track(self, number: int, name: str, centre: Point, margin: float, corners: Sequence[Point]) -> None:
        edges = list(zip(corners, (*corners[1:], corners[0]), strict=True))
        is_inside = _contains(edges, centre)
        if number in self._places and min(_distance(start, end, centre) for start, end in edges) <= margin:
            is_inside = self._places[number][1]
        _, was_inside = self._place(number, centre, is_inside)
        if is_inside != was_inside:
            counts = self.entered if is_inside else self.left
            counts[name] = counts.get(name, 0) + 1
        if is_inside:
            self.inside[name] = self.inside.get(name, 0) + 1

    def _draw(self, pen: ImageDraw.ImageDraw, corners: Sequence[Point], width: int) -> None:
        pen.polygon(list(corners), outline=_COLOUR, width=width)

    def _label_centre(self, corners: Sequence[Point]) -> Point:
        return corners[0]


Counter = LineCounter | ZoneCounter


def draw_counters(image: Image.Image, counters: Sequence[Counter]) -> Image.Image:
    """Draw lines and zones with their counts on a copy of an image.

    Args:
        image: The frame, for example ``Results.plot()``.
        counters: What to draw.

    Returns:
        An RGB image of the same size.
    """
    canvas = image.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    side = (canvas.width + canvas.height) / 2
    font = fonts.default_font(max(10, round(0.022 * side)))
    for counter in counters:
        corners = counter.pixels((canvas.height, canvas.width))
        counter._draw(pen, corners, max(1, round(0.004 * side)))
        text = f"in {sum(counter.entered.values())} out {sum(counter.left.values())}"
        box = pen.textbbox((0, 0), text, font=font)
        x, y = counter._label_centre(corners)
        x = min(max(x - box[2] / 2, 0), canvas.width - box[2])
        y = min(max(y - box[3] / 2, 0), canvas.height - box[3])
        pen.rectangle((x - 2, y, x + box[2] + 1, y + box[3] + 1), fill=_COLOUR)
        pen.text((x, y), text, fill=(0, 0, 0), font=font)
    return canvas


def _cross(start: Point, end: Point, point: Point) -> float:
    """Cross product of ``end - start`` and ``point - start``."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _distance(start: Point, end: Point, point: Point) -> float:
    """Distance of a point to the segment between two others."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / (dx * dx + dy * dy)
    along = min(max(along, 0.0), 1.0)
    return math.dist(point, (start[0] + along * dx, start[1] + along * dy))


def _contains(edges: Sequence[tuple[Point, Point]], point: Point) -> bool:
    """Whether a polygon contains a point: a ray to the right crosses an odd number of edges."""
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in edges:
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            crossings += 1
    return crossings % 2 == 1


def _describe(counts: dict[str, int]) -> str:
    """The sum, and by class in brackets."""
    parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({parts})" if parts else "0"


def _format(points: Sequence[Point]) -> str:
    return ",".join(f"{value:g}" for point in points for value in point)
