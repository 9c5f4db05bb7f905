"""``Boxes``: detections as columns, with a row for each (box, class) that NMS kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..boxes import xywh_to_xyxy

Index = int | slice | Sequence[int] | Sequence[bool] | Tensor


@dataclass(frozen=True, eq=False)
class Boxes:
    """Detections by row; tensors on one device, or numpy arrays after ``numpy()``.

    Attributes:
        xyxy: float [n, 4], (x1, y1, x2, y2) in pixels of the image.
        xywh: float [n, 4], (cx, cy, w, h) in pixels of the image.
        xyxyn: ``xyxy`` relative to the image.
        xywhn: ``xywh`` relative to the image.
        conf: float [n], confidence in 0..1.
        cls: int64 [n], class number.
        box: int64 [n], equal for rows of one box.
        data: float [n, 6], ``xyxy``, ``conf``, ``cls``.
        id: int64 [n], number of the track that a row belongs to, -1 for none; None where nothing tracks
            (see ``tracking.Tracker``).
    """

    xyxy: Tensor
    xywh: Tensor
    xyxyn: Tensor
    xywhn: Tensor
    conf: Tensor
    cls: Tensor
    box: Tensor
    data: Tensor
    id: Tensor | None = None

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, index: Index) -> Boxes:
        """Select rows; a single row is ``Boxes``, too."""
        rows = _to_slice(index, len(self))
        return self._map(lambda field: field[rows])

    def __iter__(self) -> Iterator[Boxes]:
        return (self[row] for row in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> Boxes:
        """Move or convert all columns; takes the arguments of ``Tensor.to``."""
        return self._map(lambda field: field.to(*args, **kwargs))

    def cpu(self) -> Boxes:
        """Move all columns to the CPU."""
        return self.to("cpu")

    def numpy(self) -> Any:
        """Convert all columns to numpy arrays."""
        return self._map(lambda field: field.cpu().numpy() if isinstance(field, Tensor) else field)

    def by_box(self) -> list[list[int]]:
        """Return the rows of each box, in order of rows."""
        rows: dict[int, list[int]] = {}
        for row, box in enumerate(self.box.tolist()):
            rows.setdefault(box, []).append(row)
        return list(rows.values())

    def _map(self, function: Callable[[Any], Any]) -> Boxes:
        columns = (getattr(self, field.name) for field in dataclasses.fields(self))
        mapped: list[Any] = [None if column is None else function(column) for column in columns]
        return Boxes(*mapped)


def make_boxes(xywhn: Tensor, conf: Tensor, cls: Tensor, box: Tensor, shape: tuple[int, int]) -> Boxes:
    """Build ``Boxes``, sorted by descending confidence.

    Args:
        xywhn: float [n, 4], (cx, cy, w, h) relative to the image.
        conf: float [n], confidence in 0..1.
        cls: int64 [n], class number.
        box: int64 [n], equal for rows of one box.
        shape: height and width of the image in pixels.
    """
    order = conf.argsort(descending=True, stable=True)
    xywhn, conf, cls, box = (field[order] for field in (xywhn, conf, cls, box))
    size = xywhn.new_tensor(shape[::-1]).repeat(2)
    xyxyn = xywh_to_xyxy(xywhn)
    data = torch.cat((xyxyn * size, conf[:, None], cls[:, None].to(conf)), dim=1)
    return Boxes(xyxyn * size, xywhn * size, xyxyn, xywhn, conf, cls, box, data)


def _to_slice(index: Index, length: int) -> Any:
    if not isinstance(index, int):
        return index
    if not -length <= index < length:
        raise IndexError(f"row {index} is out of range for {length} rows")
    return slice(index % length, index % length + 1)
