"""Text formats of boxes: Darknet's lines, label files and JSON, and the JSON of other tools.

The formats are those of ``detector test`` (``image.c draw_detections_v3``, ``-ext_output``, ``-save_labels``,
``-out``). As there, coordinates are not clipped to the image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from .rows import Boxes

NameMap = Mapping[int, str]

_MIN_JSON_CONFIDENCE = 0.005  # Darknet's -out omits lower confidences, whatever the threshold


def to_text(boxes: Boxes, names: NameMap, coordinates: bool = False) -> str:
    """Format a line for each row, boxes from left to right, further classes of a box after its best.

    ``coordinates``: add the box in whole pixels, as ``-ext_output`` does.
    """
    classes, percents = boxes.cls.tolist(), (boxes.conf * 100).tolist()
    corners, sizes = boxes.xyxy.tolist(), boxes.xywh.tolist()
    lines = []
    for best, *others in sorted(boxes.by_box(), key=lambda rows: corners[rows[0]][0]):
        for row in (best, *sorted(others, key=lambda other: classes[other])):
            line = f"{names[classes[row]]}: {percents[row]:.0f}%"
            if coordinates:
                line += _coordinates(*map(_round_half_away, (*corners[row][:2], *sizes[row][2:])))
            lines.append(line)
    return "\n".join(lines)


def to_demo_text(boxes: Boxes, names: NameMap, shape: tuple[int, int], coordinates: bool = False) -> str:
    """Format a line for each box as ``detector demo`` does (``draw_detections_cv_v3``), its classes by number.

    A blank follows each class. ``shape``: rows and columns of the image. ``coordinates``: add the box, as
    ``-ext_output`` does: left and top are at least 0 and cut to whole pixels, and no side is longer than the image's.
    """
    classes, percents = boxes.cls.tolist(), (boxes.conf * 100).tolist()
    height, width = shape
    lines = []
    for rows in boxes.by_box():
        line = ", ".join(
            f"{names[classes[row]]}: {percents[row]:.0f}% " for row in sorted(rows, key=classes.__getitem__)
        )
        if coordinates:
            x, y, w, h = boxes.xywhn[rows[0]].nan_to_num(0.5, 0.5, 0.5).clamp(max=1).tolist()
            line += _coordinates(
                max(0, int((x - w / 2) * width)), max(0, int((y - h / 2) * height)), w * width, h * height
            )
        lines.append(line + "\n")
    return "".join(lines)


def _coordinates(left: float, top: float, width: float, height: float) -> str:
    return f"\t(left_x: {left:4.0f}   top_y: {top:4.0f}   width: {width:4.0f}   height: {height:4.0f})"


def _round_half_away(value: float) -> float:
    """Round halves away from zero, like C's ``round``."""
    return math.copysign(math.floor(abs(value) + 0.5), value) if math.isfinite(value) else value


def to_labels(boxes: Boxes, confidence: bool = False) -> str:
    """Format the lines ``class cx cy w h`` of a label file, one for each box with its best class (``-save_labels``)."""
    classes, xywhn, confidences = boxes.cls.tolist(), boxes.xywhn.tolist(), boxes.conf.tolist()
    lines = []
    for row, *_ in boxes.by_box():
        values = (*xywhn[row], confidences[row]) if confidence else xywhn[row]
        lines.append(" ".join((str(classes[row]), *(f"{value:.4f}" for value in values))) + "\n")
    return "".join(lines)


def to_dicts(boxes: Boxes, names: NameMap) -> list[dict[str, Any]]:
    """Return a dict for each row: name, class, confidence, and box with x1, y1, x2, y2 in pixels.

    With tracks also ``track_id``; None for a box without one.
    """
    rows = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True)
    dicts = [
        {
            "name": names[cls],
            "class": cls,
            "confidence": round(confidence, 5),
            "box": dict(zip(("x1", "y1", "x2", "y2"), (round(value, 5) for value in corners), strict=True)),
        }
        for cls, confidence, corners in rows
    ]
    if boxes.id is None:
        return dicts
    ids = boxes.id.tolist()
    return [row | {"track_id": None if number < 0 else number} for row, number in zip(dicts, ids, strict=True)]


def to_darknet_json(boxes: Boxes, names: NameMap, path: str, frame_id: int) -> dict[str, Any]:
    """Return one element of the array that ``-out`` writes; without ``filename`` if ``path`` is empty."""
    keys = ("center_x", "center_y", "width", "height")
    rows = zip(boxes.cls.tolist(), boxes.xywhn.tolist(), boxes.conf.tolist(), strict=True)
    objects = [
        {
            "class_id": cls,
            "name": names[cls],
            "relative_coordinates": dict(zip(keys, (round(value, 6) for value in xywhn), strict=True)),
            "confidence": round(confidence, 6),
        }
        for cls, xywhn, confidence in rows
        if confidence > _MIN_JSON_CONFIDENCE
    ]
    return {"frame_id": frame_id} | ({"filename": path} if path else {}) | {"objects": objects}


def format_darknet_json(element: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """Format an element of ``to_darknet_json`` with the line breaks, blanks and digits of C's ``detection_to_json``.

    Names are escaped as JSON has it, which those of C are not.
    """
    text = partial(json.dumps, ensure_ascii=ascii_only)
    filename = f' "filename":{text(element["filename"])}, \n' if "filename" in element else ""
    objects = ", \n".join(
        f'  {{"class_id":{item["class_id"]}, "name":{text(item["name"])}, "relative_coordinates":{{'
        + ", ".join(f'"{key}":{value:f}' for key, value in item["relative_coordinates"].items())
        + f'}}, "confidence":{item["confidence"]:f}}}'
        for item in element["objects"]
    )
    return f'{{\n "frame_id":{element["frame_id"]}, \n{filename} "objects": [ \n{objects}\n ] \n}}'
