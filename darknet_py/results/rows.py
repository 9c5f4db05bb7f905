"""``Boxes``: what was found, as columns with a row for each (box, class) that was kept."""

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
    """Boxes with their classes, a row each; tensors on one device, or arrays after ``numpy()``.

    ``xyxy``, ``xywh``: [n, 4] corners, or centre and size, in pixels of the image; ``xyxyn``, ``xywhn``
    the same relative to the image's size. ``conf``: [n] in 0..1. ``cls``: [n] of int64. ``box``: [n] of
    int64, equal for rows of one box. ``data``: [n, 6] corners, conf, cls.
    """

    xyxy: Tensor
    xywh: Tensor
    xyxyn: Tensor
    xywhn: Tensor
    conf: Tensor
    cls: Tensor
    box: Tensor
    data: Tensor
    id = None  # of a tracked object; a detector knows none

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, index: Index) -> Boxes:
        """Some rows; one row, too, is ``Boxes``."""
        rows = _rows(index, len(self))
        return self._map(lambda field: field[rows])

    def __iter__(self) -> Iterator[Boxes]:
        return (self[row] for row in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> Boxes:
        """The same elsewhere: ``to("cuda")``; takes what ``Tensor.to`` takes."""
        return self._map(lambda field: field.to(*args, **kwargs))

    def cpu(self) -> Boxes:
        """The same in the computer's memory."""
        return self.to("cpu")

    def numpy(self) -> Any:
        """The same with numpy arrays in place of tensors."""
        return self._map(lambda field: field.cpu().numpy() if isinstance(field, Tensor) else field)

    def by_box(self) -> list[list[int]]:
        """The rows of each box, in their order."""
        rows: dict[int, list[int]] = {}
        for row, box in enumerate(self.box.tolist()):
            rows.setdefault(box, []).append(row)
        return list(rows.values())

    def _map(self, change: Callable[[Any], Any]) -> Boxes:
        return Boxes(*(change(getattr(self, field.name)) for field in dataclasses.fields(self)))


def arrange(xywhn: Tensor, conf: Tensor, cls: Tensor, box: Tensor, shape: tuple[int, int]) -> Boxes:
    """``Boxes`` of relative centres and sizes, the highest confidence first; ``shape``: height and width."""
    order = conf.argsort(descending=True, stable=True)
    xywhn, conf, cls, box = (field[order] for field in (xywhn, conf, cls, box))
    size = xywhn.new_tensor(shape[::-1]).repeat(2)
    xyxyn = xywh_to_xyxy(xywhn)
    data = torch.cat((xyxyn * size, conf[:, None], cls[:, None].to(conf)), dim=1)
    return Boxes(xyxyn * size, xywhn * size, xyxyn, xywhn, conf, cls, box, data)


def _rows(index: Index, length: int) -> Any:
    if not isinstance(index, int):
        return index
    if not -length <= index < length:
        raise IndexError(f"row {index} of {length}")
    return slice(index % length, index % length + 1)
