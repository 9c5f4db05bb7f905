"""Box coding of anchor heads: from network outputs to boxes and back, given anchors and grid cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class GridIndex(NamedTuple):
    """Indices of predictions in the output of a head.

    Attributes:
        image, row, column: int64 [n].
        anchor: int64 [n], index among the head's own anchors.
    """

    image: Tensor
    row: Tensor
    column: Tensor
    anchor: Tensor

    @property
    def xy(self) -> Tensor:
        """Column and row, int64 [n, 2]."""
        return torch.stack((self.column, self.row), dim=1)

    def select(self, rows: Tensor) -> GridIndex:
        """Return the entries at ``rows``, int64 indices or a bool mask [n]."""
        return GridIndex(*(part[rows] for part in self))


def grid_index(batch: int, anchors: int, height: int, width: int, device: torch.device) -> GridIndex:
    """Return the index of every prediction of a map, in the order image, anchor, row, column."""
    axes = [torch.arange(n, device=device) for n in (batch, anchors, height, width)]
    image, anchor, row, column = (part.flatten() for part in torch.meshgrid(*axes, indexing="ij"))
    return GridIndex(image, row, column, anchor)


@dataclass(frozen=True)
class Anchors:
    """The anchors of a cfg, and which of them one head has.

    Attributes:
        listed: (width, height) of every anchor of the cfg in pixels of the network's input.
        mask: indices of the head's anchors in ``listed``; those beyond it have size 0.
    """

    listed: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]

    @property
    def own(self) -> tuple[tuple[float, float], ...]:
        """(width, height) of the head's anchors."""
        return tuple(self.listed[n] if n < len(self.listed) else (0.0, 0.0) for n in self.mask)


@dataclass(frozen=True)
class BoxCoder:
    """Decodes a head's outputs (x, y, w, h) to boxes (cx, cy, w, h) relative to the input, and encodes boxes.

    With the cell (column, row), the anchor (pw, ph) and the input's size in pixels:
    ``cx = (column + x) / grid width + offset * w``, ``w = pw * exp(x_w) / input width``, likewise cy and h
    (YOLOv2, https://arxiv.org/abs/1612.08242, section 2; ``get_yolo_box``, ``get_gaussian_yolo_box``).

    Attributes:
        anchors: (width, height) of the head's anchors in pixels of the input.
        grid_size: width and height of the map in cells.
        input_size: width and height of the network's input in pixels.
        squared_size: sizes are ``pw * (2 x_w) ** 2`` instead (``new_coords=1``, Scaled-YOLOv4).
        offset: centre of a box minus the point that its cell contains, in widths and heights of the box: 0 for the
            centre, 0.5 for the top left corner, -0.5 for the bottom right one.
    """

    anchors: tuple[tuple[float, float], ...]
    grid_size: tuple[int, int]
    input_size: tuple[int, int]
    squared_size: bool = False
    offset: float = 0.0

    def decode(self, outputs: Tensor, index: GridIndex) -> Tensor:
        """Return boxes, float [n, 4], of outputs (x, y, w, h), float [n, 4]."""
        wh = outputs[:, 2:]
        factor = 4 * wh.square() if self.squared_size else wh.exp()
        sizes = factor * factor.new_tensor(self.anchors)[index.anchor] / factor.new_tensor(self.input_size)
        centres = (index.xy + outputs[:, :2]) / outputs.new_tensor(self.grid_size)
        if self.offset:
            centres = centres + sizes * self.offset
        return torch.cat((centres, sizes), dim=1)

    def encode(self, boxes: Tensor, index: GridIndex) -> Tensor:
        """Return the outputs (x, y, w, h), float [n, 4], that decode to boxes, float [n, 4]; ``decode`` inverted."""
        xy = self.anchor_point(boxes) * boxes.new_tensor(self.grid_size) - index.xy
        anchors = boxes.new_tensor(self.anchors)[index.anchor]
        factor = boxes[:, 2:] * boxes.new_tensor(self.input_size) / anchors
        return torch.cat((xy, (factor / 4).sqrt() if self.squared_size else factor.log()), dim=1)

    def anchor_point(self, boxes: Tensor) -> Tensor:
        """Return the point of each box that its cell contains, float [n, 2]."""
        return boxes[:, :2] - boxes[:, 2:] * self.offset if self.offset else boxes[:, :2]

    def cell(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return column and row, int64 [n] each, of the cell that contains each box's anchor point."""
        grid = boxes.new_tensor(self.grid_size)
        column, row = (self.anchor_point(boxes) * grid).long().clamp(min=0).minimum(grid.long() - 1).unbind(dim=1)
        return column, row
