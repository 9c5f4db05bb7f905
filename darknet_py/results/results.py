"""``Results``: what a detector found on one image, to be read, drawn, saved or handed on.

A row is one (box, class) that was kept, so a box with two probable classes gives two rows; ``boxes.box``
says which rows belong together. Rows are sorted by confidence, the highest first. Coordinates are what
the network says: like Darknet's they may reach beyond the image, only drawing cuts them.

The fields are those that tools for detections have agreed on: ``supervision.Detections.from_ultralytics``
takes the object as it is; ``to_supervision`` needs no such detour.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .._typing import StrPath
from ..boxes import RawDetections
from ..errors import DataError
from ..files import atomic_write
from ..images import drawing
from ..images.reading import ImageArray
from . import formats
from .rows import Boxes, Index, arrange

__all__ = ["Boxes", "Results", "from_raw"]

Names = Mapping[int, str] | Sequence[str] | None

_HIDDEN = "dont_show"  # Darknet keeps classes whose name starts so to itself


class Results:
    """What was found on one image.

    ``xywhn``: [n, 4] centre and size relative to the image. ``conf``: [n]. ``cls``: [n] of int64. ``box``:
    [n], equal for rows of one box; absent: every row is a box. ``shape``: the image's height and width.
    ``names``: by class number, as a list or a dict; a class without a name is called by its number.
    ``image``: [height, width, channels] of uint8 in RGB order, for drawing; kept as it is, not copied.
    ``speed``: milliseconds by stage.
    """

    masks = keypoints = obb = probs = None  # readers of such objects look for them; Darknet makes none

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
        self.boxes = arrange(xywhn, conf, cls, box, shape)
        given = _by_number(names)
        self.names = given | {k: str(k) for k in sorted(set(cls.tolist()) - set(given))}
        self.orig_shape = shape
        self.orig_img = image
        self.path = os.fspath(path)
        self.speed = dict(speed or {})

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Results:
        """The result with some of its rows."""
        return self._with(self.boxes[index])

    def __iter__(self) -> Iterator[Results]:
        return (self[row] for row in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> Results:
        """The same with the boxes elsewhere: ``to("cuda")``; takes what ``Tensor.to`` takes."""
        return self._with(self.boxes.to(*args, **kwargs))

    def cpu(self) -> Results:
        """The same with the boxes in the computer's memory."""
        return self._with(self.boxes.cpu())

    def numpy(self) -> Any:
        """The same with numpy arrays in ``boxes`` in place of tensors."""
        return self._with(self.boxes.numpy())

    def _with(self, boxes: Boxes) -> Results:
        other = Results.__new__(Results)
        other.__dict__.update(self.__dict__, boxes=boxes)
        return other

    def __repr__(self) -> str:
        height, width = self.orig_shape
        return f"Results({self.path or 'image'!r}, {width}x{height}, {len(self)} rows)"

    def __str__(self) -> str:
        """Darknet's lines, ``dog: 84%``; see ``to_text``."""
        return self.to_text()

    def to_text(self, coordinates: bool = False) -> str:
        """A line for each row, ``dog: 84%``, from left to right; ``coordinates``: as ``-ext_output`` adds them."""
        return formats.text(self.boxes, self.names, coordinates)

    def to_txt(self, confidence: bool = False) -> str:
        """A Darknet label file: ``class x y w h`` of each box's best class; ``confidence`` adds a column."""
        return formats.labels(self.boxes, confidence)

    def summary(self) -> list[dict[str, Any]]:
        """A dict for each row: name, class, confidence, and box with x1, y1, x2, y2 in pixels."""
        return formats.summary(self.boxes, self.names)

    def to_json(self) -> str:
        """``summary()`` as JSON text."""
        return json.dumps(self.summary(), ensure_ascii=False, indent=2)

    def to_darknet_json(self, frame_id: int = 1) -> dict[str, Any]:
        """One element of the array that Darknet's ``-out`` writes; without ``filename`` where there is no path."""
        return formats.frame(self.boxes, self.names, self.path, frame_id)

    def to_supervision(self) -> Any:
        """As ``supervision.Detections``, names in ``data["class_name"]``. Raises ImportError without the package."""
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision() needs the package supervision: pip install supervision") from error
        boxes = self.boxes.numpy()
        return supervision.Detections(
            xyxy=boxes.xyxy.astype(np.float32),
            confidence=boxes.conf.astype(np.float32),
            class_id=boxes.cls.astype(int),
            data={"class_name": np.array([self.names[k] for k in boxes.cls.tolist()], dtype=str)},
        )

    def plot(self, **options: Any) -> Image.Image:
        """Draw the boxes on the image; ``options``: see ``images.drawing.draw_boxes``. Raises DataError without one."""
        if self.orig_img is None:
            raise DataError(f"{self.path or 'result'}: nothing to draw on: this result was made without an image")
        xyxy, cls, conf, box = (getattr(self.boxes, name).tolist() for name in ("xyxy", "cls", "conf", "box"))
        return drawing.draw_boxes(self.orig_img, xyxy, cls, conf, self.names, **{"box": box} | options)

    def save(self, path: StrPath, **options: Any) -> None:
        """Write ``plot(**options)``, whole or not at all, in the format that the suffix says (jpg at quality 95).

        Raises DataError where the suffix says none or the file cannot be written.
        """
        target = pathlib.Path(path)
        kind = Image.registered_extensions().get(target.suffix.lower(), "")
        if kind not in Image.SAVE:
            raise DataError(f"{target}: expected a name with an image's suffix such as .jpg or .png")
        content = io.BytesIO()
        self.plot(**options).save(content, format=kind, quality=95)
        try:
            with atomic_write(target) as file:
                file.write(content.getvalue())
        except OSError as error:
            raise DataError(f"{target}: {error.strerror or error}") from error


def from_raw(found: RawDetections, shape: tuple[int, int], *, names: Names = None, **rest: Any) -> Results:
    """Results with a row for each box and class whose probability is not 0.

    ``shape``: the image's height and width, ``rest``: what else ``Results`` takes. Classes whose name
    starts with ``dont_show`` are left out, as Darknet does.
    """
    classes = range(found.probs.shape[1])
    known = {k: str(k) for k in classes} | _by_number(names)
    shown = torch.tensor([not known[k].startswith(_HIDDEN) for k in classes], device=found.probs.device)
    box, cls = ((found.probs > 0) & shown).nonzero(as_tuple=True)
    return Results(found.boxes[box], found.probs[box, cls], cls, box, shape=shape, names=known, **rest)


def _by_number(names: Names) -> dict[int, str]:
    return dict(names) if isinstance(names, Mapping) else dict(enumerate(names or ()))
