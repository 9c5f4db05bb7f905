"""``[Gaussian_yolo]``: a head that also predicts the uncertainty of each coordinate (https://arxiv.org/abs/1904.04620)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import RawDetections, decode_grid
from ...cfg.schema import option
from ..base import section
from ._anchor_head import AnchorHead
from ._box_coder import BoxCoder
from ._gaussian_yolo_loss import GaussianYoloLoss
from ._head import DecodeOptions, SelectedRows


class YoloPoint(enum.StrEnum):
    """Values of ``yolo_point=``: the point of a box that its cell contains."""

    CENTER = "center"
    LEFT_TOP = "left_top"
    RIGHT_BOTTOM = "right_bottom"


_OFFSETS = {YoloPoint.CENTER: 0.0, YoloPoint.LEFT_TOP: 0.5, YoloPoint.RIGHT_BOTTOM: -0.5}


@section("Gaussian_yolo")
class GaussianYolo(AnchorHead):
    """Each anchor of each cell outputs mean and standard deviation of x, y, w, h, then objectness and class scores.

    The mean of the deviations lowers the class probabilities.
    """

    box_entries = 8

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorHead.Options):
        """Keys of ``parse_gaussian_yolo``."""

        yolo_point: YoloPoint = option(YoloPoint.CENTER, "the point of a box that its cell contains")
        uc_normalizer: float = option(1.0, "weight of the uncertainty loss", train=True, min=0)

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """Apply the sigmoid to all but the sizes' means (``forward_gaussian_yolo_layer``).

        Args:
            x: float [batch, anchors * (9 + classes), height, width].

        Returns:
            Same shape: ``s * sigmoid(x) - (s - 1) / 2`` for the means of x and y with s = ``scale_x_y``, the means
            of w and h unchanged, and deviations, objectness and class scores in 0..1.
        """
        t = self.entries(x)
        scale = self.options.scale_x_y
        y = torch.sigmoid(t)
        xy = y[:, :, 0:4:2] * scale - (scale - 1) / 2
        box = (xy[:, :, 0:1], y[:, :, 1:2], xy[:, :, 1:2], y[:, :, 3:4], t[:, :, 4:5], y[:, :, 5:6], t[:, :, 6:7])
        return torch.cat((*box, y[:, :, 7:]), dim=2).flatten(1, 2)

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes whose objectness is above the threshold (``get_gaussian_yolo_detections``)."""
        coder = self.box_coder(output, size)
        rows, cells, counts = self.candidates(output, coder, options.threshold)
        boxes = coder.decode(rows[:, 0:8:2], cells)
        certainty = 1 - rows[:, 1:8:2].mean(dim=1, keepdim=True)
        probs = rows[:, 8:9] * rows[:, 9:] * certainty
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (boxes, rows[:, 8], probs))
        return [RawDetections(*image) for image in zip(*parts, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all boxes; their probabilities are objectness * class score * (1 - mean deviation)."""
        cells = self.cells(output)
        boxes = decode_grid(cells[..., 0:4:2], cells[..., 4:8:2].exp(), self.anchors, size)
        centres = boxes[..., :2] + boxes[..., 2:] * self._offset
        certainty = 1 - cells[..., 1:8:2].mean(dim=-1, keepdim=True)
        probs = cells[..., 8:9] * cells[..., 9:] * certainty
        return torch.cat((centres, boxes[..., 2:]), dim=-1).flatten(1, 3), probs.flatten(1, 3)

    @property
    def _offset(self) -> float:
        """The box's centre minus ``yolo_point``, in widths and heights."""
        return _OFFSETS[self.options.yolo_point]

    def box_coder(self, output: Tensor | SelectedRows, size: tuple[int, int]) -> BoxCoder:
        """Return the coder for ``get_gaussian_yolo_box``."""
        return BoxCoder(self.anchors, (output.shape[3], output.shape[2]), size, offset=self._offset)

    @property
    def loss_function(self) -> GaussianYoloLoss:
        """The loss, configured by the options."""
        return GaussianYoloLoss(
            options=self.options,
            anchors=self._anchors,
            activate=self.forward,
            offset=self._offset,
            uc_normalizer=self.options.uc_normalizer,
        )

    def loss_line(self, index: int, numbers: Mapping[str, float]) -> str:
        """Darknet's line, without its means of class scores and objectness."""
        count = int(numbers["count"])
        iou = f"{numbers['iou']:f}" if count else "-nan"
        return (
            f"Region {index} Avg IOU: {iou},  count: {count}, class_loss = {numbers['class']:.2f}, "
            f"iou_loss = {numbers['box']:.2f}, uc_loss = {numbers['uncertainty']:.2f}, "
            f"total_loss = {numbers['total']:.2f} "
        )
