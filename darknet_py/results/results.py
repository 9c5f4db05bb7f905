"""``Results``: the detections on one image, to read, draw, save or convert.

A row is one (box, class) that NMS kept, so a box with two classes above the threshold gives two rows; ``boxes.box``
tells which rows belong together. Rows are sorted by descending confidence. As in Darknet, boxes are not clipped to
the image; only drawing clips them.

Attributes have the names of Ultralytics' ``Results``, so that ``supervision.Detections.from_ultralytics`` accepts the
object; ``to_supervision`` converts directly.
"""

from __future__ import annotations

import io
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .._typing import StrPath
from ..boxes import RawDetections, xyxy_to_xywh
from ..errors import DataError
from ..files import atomic_write, check_outputs
from ..images import drawing
from ..images.reading import ImageArray
from . import formats
from .rows import Boxes, Index, make_boxes

__all__ = ["Boxes", "Results", "from_raw"]

Names = Mapping[int, str] | Sequence[str] | None

_HIDDEN_PREFIX = "dont_show"  # Darknet does not report classes whose name starts with this


class Results:
    """The detections on one image.

    Args:
        xywhn: float [n, 4], (cx, cy, w, h) relative to the image.
        conf: float [n], confidence in 0..1.
        cls: int64 [n], class number.
        box: int64 [n], equal for rows of one box; None: every row is a box.
        shape: height and width of the image in pixels.
        names: class names by number, as a sequence or a mapping; a class without a name is named by its number.
        path: path of the image.
        image: uint8 [height, width, channels] in RGB order, for drawing; not copied.
        speed: milliseconds by stage.

    Attributes:
        boxes: the detections as ``Boxes``.
        names: class names by number.
        orig_shape: height and width of the image in pixels.
        orig_img: the image, or None.
        path: path of the image, or an empty string.
        speed: milliseconds by stage.
    """

    masks = keypoints = obb = probs = None  # readers of Ultralytics' results look for these

    def __init__(
        self,
        xywhn: Tensor,
        conf: Tensor,
        cls: Tensor,
        box: Tensor | None = None,
        *,
        shape: tuple[int, int],
        names: Names = None,
        path: StrPath = "",
        image: ImageArray | None = None,
        speed: Mapping[str, float] | None = None,
    ) -> None:
        if box is None:
            box = torch.arange(len(conf), device=conf.device)
        self.boxes = make_boxes(xywhn, conf, cls, box, shape)
        given = _by_number(names)
        self.names = given | {k: str(k) for k in sorted(set(cls.tolist()) - set(given))}
        self.orig_shape = shape
        self.orig_img = image
        self.path = os.fspath(path)
        self.speed = dict(speed or {})

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Results:
        """Select rows."""
        return self._with(self.boxes[index])

    def __iter__(self) -> Iterator[Results]:
        return (self[row] for row in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> Results:
        """Move or convert the boxes; takes the arguments of ``Tensor.to``."""
        return self._with(self.boxes.to(*args, **kwargs))

    def cpu(self) -> Results:
        """Move the boxes to the CPU."""
        return self._with(self.boxes.cpu())

    def numpy(self) -> Any:
        """Convert the boxes to numpy arrays."""
        return self._with(self.boxes.numpy())

    def _with(self, boxes: Boxes) -> Results:
        other = Results.__new__(Results)
        other.__dict__.update(self.__dict__, boxes=boxes)
        return other

    def __repr__(self) -> str:
        height, width = self.orig_shape
        return f"Results({self.path or 'image'!r}, {width}x{height}, {len(self)} rows)"

    def __str__(self) -> str:
        """Format Darknet's lines, ``dog: 84%``; see ``to_text``."""
        return self.to_text()

    def to_text(self, coordinates: bool = False) -> str:
        """Format Darknet's lines, ``dog: 84%``, one for each row from left to right.

        ``coordinates``: add the box in whole pixels, as ``-ext_output`` does.
        """
        return formats.to_text(self.boxes, self.names, coordinates)

    def to_demo_text(self, coordinates: bool = False) -> str:
        """Format the lines of ``detector demo``, one for each box with all its classes: ``horse: 28% , cow: 37% ``."""
        return formats.to_demo_text(self.boxes, self.names, self.orig_shape, coordinates)

    def to_txt(self, confidence: bool = False) -> str:
        """Format a Darknet label file: a line ``class cx cy w h`` for each box, with its best class.

        ``confidence``: append the confidence to each line.
        """
        return formats.to_labels(self.boxes, confidence)

    def summary(self) -> list[dict[str, Any]]:
        """Return a dict for each row: name, class, confidence, and box with x1, y1, x2, y2 in pixels.

        With tracks also ``track_id``; None for a box without one.
        """
        return formats.to_dicts(self.boxes, self.names)

    def to_dict(self, **position: Any) -> dict[str, Any]:
        """Return path, width and height of the image in pixels, and ``summary()`` as ``boxes``.

        ``position``: further entries, such as index and timestamp of a frame.
        """
        height, width = self.orig_shape
        return {"path": self.path, **position, "width": width, "height": height, "boxes": self.summary()}

    def to_json(self) -> str:
        """Format ``summary()`` as JSON."""
        return json.dumps(self.summary(), ensure_ascii=False, indent=2)

    def to_darknet_json(self, frame_id: int = 1) -> dict[str, Any]:
        """Return one element of the array that Darknet's ``-out`` writes; without ``filename`` if there is no path."""
        return formats.to_darknet_json(self.boxes, self.names, self.path, frame_id)

    def to_supervision(self) -> Any:
        """Convert to ``supervision.Detections``, with names in ``data["class_name"]`` and tracks in ``tracker_id``.

        Raises ImportError without the package.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision() needs supervision: pip install 'darknet-torch[supervision]'") from error
        boxes = self.boxes.numpy()
        return supervision.Detections(
            xyxy=boxes.xyxy.astype(np.float32),
            confidence=boxes.conf.astype(np.float32),
            class_id=boxes.cls.astype(int),
            tracker_id=None if boxes.id is None else boxes.id.astype(int),
            data={"class_name": np.array([self.names[k] for k in boxes.cls.tolist()], dtype=str)},
        )

    def clip(self) -> Results:
        """Clip the boxes to the image; Darknet's are not clipped."""
        xyxyn = self.boxes.xyxyn.clip(0, 1)
        boxes = make_boxes(xyxy_to_xywh(xyxyn), self.boxes.conf, self.boxes.cls, self.boxes.box, self.orig_shape)
        return self._with(replace(boxes, id=self.boxes.id))  # rows are sorted already

    def with_tracks(self, rows: Index, ids: Tensor) -> Results:
        """Select rows, and number their tracks. ``ids``: int64 [rows selected], -1 for a box without a track."""
        return self._with(replace(self.boxes[rows], id=ids.to(self.boxes.conf.device)))

    def crops(self) -> list[tuple[str, ImageArray]]:
        """Return the class name and the part of the image, uint8 [h, w, channels], of each box inside the image.

        Raises DataError without an image.
        """
        image = self._require_image()
        height, width = self.orig_shape
        parts = []
        for cls, (x1, y1, x2, y2) in zip(self.boxes.cls.tolist(), self.boxes.xyxy.tolist(), strict=True):
            left, right = max(0, math.floor(x1)), min(width, math.ceil(x2))
            top, bottom = max(0, math.floor(y1)), min(height, math.ceil(y2))
            if left < right and top < bottom:
                parts.append((self.names[cls], np.ascontiguousarray(image[top:bottom, left:right])))
        return parts

    def _require_image(self) -> ImageArray:
        if self.orig_img is None:
            raise DataError(f"{self.path or 'result'}: nothing to draw on: this result was made without an image")
        return self.orig_img

    def _repr_png_(self) -> bytes | None:
        """The image with boxes, for notebooks; None without an image."""
        if self.orig_img is None:
            return None
        content = io.BytesIO()
        self.plot().save(content, format="png")
        return content.getvalue()

    def plot(self, **options: Any) -> Image.Image:
        """Draw the boxes on the image; ``options``: see ``images.drawing.draw_boxes``. Raises DataError without one."""
        image = self._require_image()
        xyxy, cls, conf, box = (getattr(self.boxes, name).tolist() for name in ("xyxy", "cls", "conf", "box"))
        ids = None if self.boxes.id is None else self.boxes.id.tolist()
        return drawing.draw_boxes(image, xyxy, cls, conf, self.names, **{"box": box, "ids": ids} | options)

    def save(self, path: StrPath, *, draw: Callable[[Results], Image.Image] | None = None, **options: Any) -> None:
        """Write ``plot(**options)`` atomically, in the format of the suffix (jpg at quality 95).

        ``draw``: makes the image instead of ``plot``.

        Raises DataError where the suffix is not that of an image, the file is the image itself or cannot be written.
        """
        target = pathlib.Path(path)
        kind = Image.registered_extensions().get(target.suffix.lower(), "")
        if kind not in Image.SAVE:
            raise DataError(f"{target}: expected a name with an image's suffix such as .jpg or .png")
        check_outputs([target], [self.path])
        content = io.BytesIO()
        image = self.plot(**options) if draw is None else draw(self)
        image.save(content, format=kind, quality=95)
        with atomic_write(target) as file:
            file.write(content.getvalue())


def from_raw(detections: RawDetections, shape: tuple[int, int], *, names: Names = None, **kwargs: Any) -> Results:
    """Build ``Results`` with a row for each box and class whose probability is not 0.

    Classes whose name starts with ``dont_show`` are left out, as in Darknet.

    Args:
        detections: boxes (cx, cy, w, h) relative to the image.
        shape: height and width of the image in pixels.
        names: class names by number.
        kwargs: further arguments of ``Results``.
    """
    probs = detections.probs
    classes = range(probs.shape[1])
    all_names = {cls: str(cls) for cls in classes} | _by_number(names)
    is_shown = torch.tensor([not all_names[cls].startswith(_HIDDEN_PREFIX) for cls in classes], device=probs.device)
    box, cls = ((probs > 0) & is_shown).nonzero(as_tuple=True)
    return Results(detections.boxes[box], probs[box, cls], cls, box, shape=shape, names=all_names, **kwargs)


def _by_number(names: Names) -> dict[int, str]:
    return dict(names) if isinstance(names, Mapping) else dict(enumerate(names or ()))
