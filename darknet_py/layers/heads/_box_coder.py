"""Box coding of anchor heads: from network outputs to boxes and back, given anchors and grid cells."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Cells(NamedTuple):
    """Cell and anchor of predictions, and the sizes that boxes are relative to, as floats.

    Attributes:
        xy: float [n, 2], column and row.
        anchors: float [n, 2], width and height of the anchor in pixels of the input.
        grid_size: float [2], width and height of the map in cells.
        input_size: float [2], width and height of the network's input in pixels.
    """

    xy: Tensor
    anchors: Tensor
    grid_size: Tensor
    input_size: Tensor

    def select(self, positions: Tensor) -> Cells:
        """Return the entries at ``positions``, int64 [m]."""
        return self._replace(xy=self.xy[positions], anchors=self.anchors[positions])


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

    A prediction has a position in its image, that of its anchor, row and column in this order:
    ``(anchor * grid height + row) * grid width + column``.

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

    def cells(self, like: Tensor) -> Cells:
        """Return the cells of all positions, on the device and in the precision of ``like``."""
        return _all_cells(self, like.device, like.dtype)

    def decode(self, outputs: Tensor, cells: Cells) -> Tensor:
        """Return boxes, float [..., n, 4], of outputs (x, y, w, h), float [..., n, 4]."""
        wh = outputs[..., 2:]
        factor = 4 * wh.square() if self.squared_size else wh.exp()
        sizes = factor * cells.anchors / cells.input_size
        centres = (cells.xy + outputs[..., :2]) / cells.grid_size
        if self.offset:
            centres = centres + sizes * self.offset
        return torch.cat((centres, sizes), dim=-1)

    def encode(self, boxes: Tensor, cells: Cells) -> Tensor:
        """Return the outputs (x, y, w, h), float [n, 4], that decode to boxes, float [n, 4]; ``decode`` inverted."""
        xy = self.anchor_point(boxes) * cells.grid_size - cells.xy
        factor = boxes[:, 2:] * cells.input_size / cells.anchors
        return torch.cat((xy, (factor / 4).sqrt() if self.squared_size else factor.log()), dim=1)

    def anchor_point(self, boxes: Tensor) -> Tensor:
        """Return the point of each box that its cell contains, float [n, 2]."""
        return boxes[:, :2] - boxes[:, 2:] * self.offset if self.offset else boxes[:, :2]

    def cell(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return column and row, int64 [n] each, of the cell that contains each box's anchor point."""
        grid = boxes.new_tensor(self.grid_size)
        column, row = (self.anchor_point(boxes) * grid).long().clamp(min=0).minimum(grid.long() - 1).unbind(dim=1)
        return column, row


@functools.lru_cache(maxsize=64)  # a few heads at all sizes of multi-scale training
def _all_cells(coder: BoxCoder, device: torch.device, dtype: torch.dtype) -> Cells:
    width, height = coder.grid_size
    with torch.inference_mode(False):  # the loss saves them for its backward pass
        position = torch.arange(len(coder.anchors) * height * width)
        cell = position % (height * width)
        xy = torch.stack((cell % width, cell // width), dim=1)
        anchors = torch.tensor(coder.anchors, dtype=dtype)[position // (height * width)]
        tensors = (xy, anchors, torch.tensor(coder.grid_size), torch.tensor(coder.input_size))
        return Cells(*(tensor.to(dtype).to(device, non_blocking=True) for tensor in tensors))
