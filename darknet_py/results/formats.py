"""Boxes as text: Darknet's lines, its label files, its JSON, and the JSON of other tools.

The formats are those of ``detector test`` (``image.c draw_detections_v3``, ``-ext_output``,
``-save_labels``, ``-out``). Coordinates are not cut at the image's edge, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .rows import Boxes

Names = Mapping[int, str]

_REPORTED = 0.005  # Darknet's -out leaves lower probabilities out, whatever the threshold


def text(boxes: Boxes, names: Names, coordinates: bool = False) -> str:
    """A line for each row, boxes from left to right, further classes of a box behind its best.

    ``coordinates``: with the box in whole pixels, as ``-ext_output`` has it.
    """
    classes, percents = boxes.cls.tolist(), (boxes.conf * 100).tolist()
    corners, sizes = boxes.xyxy.tolist(), boxes.xywh.tolist()
    lines = []
    for best, *others in sorted(boxes.by_box(), key=lambda rows: corners[rows[0]][0]):
        for row in (best, *sorted(others, key=lambda other: classes[other])):
            line = f"{names[classes[row]]}: {percents[row]:.0f}%"
            if coordinates:
                left, top, width, height = map(_whole, (*corners[row][:2], *sizes[row][2:]))
                line += f"\t(left_x: {left:4.0f}   top_y: {top:4.0f}   width: {width:4.0f}   height: {height:4.0f})"
            lines.append(line)
    return "\n".join(lines)


def _whole(value: float) -> float:
    """C's ``round``: halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value) if math.isfinite(value) else value


def labels(boxes: Boxes, confidence: bool = False) -> str:
    """Lines ``class x y w h`` of a label file: each box's best class (``-save_labels``)."""
    classes, centres, chances = boxes.cls.tolist(), boxes.xywhn.tolist(), boxes.conf.tolist()
    lines = []
    for row, *_ in boxes.by_box():
        values = (*centres[row], chances[row]) if confidence else centres[row]
        lines.append(" ".join((str(classes[row]), *(f"{value:.4f}" for value in values))) + "\n")
    return "".join(lines)


def summary(boxes: Boxes, names: Names) -> list[dict[str, Any]]:
    """A dict for each row: name, class, confidence, and box with x1, y1, x2, y2 in pixels."""
    rows = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True)
    return [
        {
            "name": names[k],
            "class": k,
            "confidence": round(confidence, 5),
            "box": dict(zip(("x1", "y1", "x2", "y2"), (round(edge, 5) for edge in corners), strict=True)),
        }
        for k, confidence, corners in rows
    ]


def frame(boxes: Boxes, names: Names, path: str, frame_id: int) -> dict[str, Any]:
    """One element of the array that ``-out`` writes; without ``filename`` where ``path`` is empty."""
    parts = ("center_x", "center_y", "width", "height")
    rows = zip(boxes.cls.tolist(), boxes.xywhn.tolist(), boxes.conf.tolist(), strict=True)
    objects = [
        {
            "class_id": k,
            "name": names[k],
            "relative_coordinates": dict(zip(parts, (round(part, 6) for part in centre), strict=True)),
            "confidence": round(confidence, 6),
        }
        for k, centre, confidence in rows
        if confidence > _REPORTED
    ]
    return {"frame_id": frame_id} | ({"filename": path} if path else {}) | {"objects": objects}
