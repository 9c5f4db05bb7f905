"""``[Gaussian_yolo]``: a head that also says how sure it is of each coordinate (https://arxiv.org/abs/1904.04620)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import Candidates
from ..schema import option
from .base import Selection, section
from .yolo import AnchorHead


class YoloPoint(enum.StrEnum):
    """What ``yolo_point=`` may say: which point of a box its cell holds."""

    CENTER = "center"
    LEFT_TOP = "left_top"
    RIGHT_BOTTOM = "right_bottom"


_TO_CENTRE = {YoloPoint.CENTER: 0.0, YoloPoint.LEFT_TOP: 0.5, YoloPoint.RIGHT_BOTTOM: -0.5}


@section("Gaussian_yolo")
class GaussianYolo(AnchorHead):
    """Every coordinate is followed by its deviation; their mean lowers the class probabilities."""

    box_entries = 8

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorHead.Options):
        """Keys of ``parse_gaussian_yolo``."""

        yolo_point: YoloPoint = option(YoloPoint.CENTER, "the point of a box that lies in its cell")
        uc_normalizer: float = option(1.0, "factor on the deviations' gradient", train=True)

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """[batch, anchors * (9 + classes), height, width], shape kept; logistic but for the sizes."""
        t, scale = self.entries(x), self.options.scale_x_y
        y = torch.sigmoid(t)
        place = y[:, :, 0:4:2] * scale - (scale - 1) / 2
        order = (place[:, :, 0:1], y[:, :, 1:2], place[:, :, 1:2], y[:, :, 3:4], t[:, :, 4:5], y[:, :, 5:6])
        return torch.cat((*order, t[:, :, 6:7], y[:, :, 7:]), dim=2).flatten(1, 2)

    def decode(self, output: Tensor, size: tuple[int, int], which: Selection) -> list[Candidates]:
        """Boxes of the cells whose objectness is above the threshold (``get_gaussian_yolo_detections``)."""
        rows, places, counts = self.selected(output, which.threshold)
        sizes = self.sizes(rows[:, 4:8:2].exp(), places, size)
        centres = self.centres(rows[:, 0:4:2], places, output) + sizes * _TO_CENTRE[self.options.yolo_point]
        certainty = 1 - rows[:, 1:8:2].mean(dim=1, keepdim=True)
        probs = rows[:, 8:9] * rows[:, 9:] * certainty
        probs = torch.where(probs > which.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (torch.cat((centres, sizes), dim=1), rows[:, 8], probs))
        return [Candidates(*picture) for picture in zip(*parts, strict=True)]
