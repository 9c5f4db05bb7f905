"""``[Gaussian_yolo]``: a head that also says how sure it is of each coordinate (https://arxiv.org/abs/1904.04620)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from ...boxes import RawDetections, decode_grid
from ...cfg.schema import option
from ..base import section
from ._anchor_head import AnchorHead
from ._head import DecodeOptions
from ._iou import IoULoss, overlap, slope


class YoloPoint(enum.StrEnum):
    """What ``yolo_point=`` may say: which point of a box its cell holds."""

    CENTER = "center"
    LEFT_TOP = "left_top"
    RIGHT_BOTTOM = "right_bottom"


_FLOOR, _EPSILON = 0.3, 1e-9
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

    def decode(self, output: Tensor, size: tuple[int, int], options: DecodeOptions) -> list[RawDetections]:
        """Boxes of the cells whose objectness is above the threshold (``get_gaussian_yolo_detections``)."""
        rows, places, counts = self.selected(output, options.threshold)
        boxes = self.boxes_of(rows, places, output, size)
        certainty = 1 - rows[:, 1:8:2].mean(dim=1, keepdim=True)
        probs = rows[:, 8:9] * rows[:, 9:] * certainty
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (boxes, rows[:, 8], probs))
        return [RawDetections(*image) for image in zip(*parts, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """All boxes and objectness * class * certainty."""
        rows = self.entries(output).permute(0, 3, 4, 1, 2)
        boxes = decode_grid(rows[..., 0:4:2], rows[..., 4:8:2].exp(), self.anchors, size)
        centres = boxes[..., :2] + boxes[..., 2:] * _TO_CENTRE[self.options.yolo_point]
        certainty = 1 - rows[..., 1:8:2].mean(dim=-1, keepdim=True)
        probs = rows[..., 8:9] * rows[..., 9:] * certainty
        return torch.cat((centres, boxes[..., 2:]), dim=-1).flatten(1, 3), probs.flatten(1, 3)

    match_marks_class = True
    keeps_smooth = False
    attack_is_whole = False
    rejects = False

    def match_target(self, matches: Tensor) -> Tensor:
        """The square of the overlap."""
        return matches.square()

    def corner(self, target: Tensor) -> Tensor:
        """As ``yolo_point`` says."""
        return target[:, :2] - target[:, 2:] * _TO_CENTRE[self.options.yolo_point]

    def boxes_of(self, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes [n, 4] of rows [n, 9 + classes] (``get_gaussian_yolo_box``)."""
        sizes = self.sizes(rows[:, 4:8:2].exp(), places, size)
        centres = self.centres(rows[:, 0:4:2], places, output) + sizes * _TO_CENTRE[self.options.yolo_point]
        return torch.cat((centres, sizes), dim=1)

    def residuals(self, target: Tensor, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """What the box's numbers lack."""
        place, factor = self.wanted(target, places, output, size)
        return torch.cat((place, factor.log()), dim=1) - rows[:, 0:8:2]

    def box_delta(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """C's ``delta_gaussian_yolo_box``: none of it knows of the logistic."""
        deviation = rows[:, 1:8:2]
        density = _density(lacks, deviation)
        share = (2 - target[:, 2:].prod(dim=1, keepdim=True)) / 2 * density / (density + _EPSILON)
        moves = share * lacks / deviation.square()
        surer = share * (lacks.square() / deviation**3 - 1 / (deviation + _FLOOR)) * self.options.uc_normalizer
        if self.options.iou_loss is not IoULoss.MSE:
            moves = slope(boxes, target, self.options.iou_loss)
            centre = moves[:, :2] - moves[:, 2:] * _TO_CENTRE[self.options.yolo_point]
            moves = torch.cat((centre, moves[:, 2:] * rows[:, 4:8:2].exp()), dim=1)
        both = torch.stack((moves * weights[:, None], surer), dim=2).flatten(1)
        return torch.nan_to_num(both, 0.0, 0.0, 0.0).clamp(-self.options.max_delta, self.options.max_delta)

    def box_error(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """Minus the log of the normal density; place and deviation each with the other held, for their own weights."""
        deviation, scale = rows[:, 1:8:2], (2 - target[:, 2:].prod(dim=1)) / 2
        surer = -(_density(lacks.detach(), deviation) + _EPSILON).log().sum(dim=1) * scale
        if self.options.iou_loss is IoULoss.MSE:
            error = -(_density(lacks, deviation.detach()) + _EPSILON).log().sum(dim=1) * scale
        else:
            error = 1 - overlap(boxes, target, self.options.iou_loss)
        return weights * error + self.options.uc_normalizer * surer

    def shared_by(self, objectness: Tensor, classes: Tensor) -> Tensor:
        """The classes of a row share its box."""
        return (classes > 0).sum(dim=1).clamp(min=1).to(classes)

    def cost(self, delta: Tensor, boxes: Tensor, target: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The squares of all deltas."""
        whole, others = delta.square().sum(), delta[:, 8:].square().sum()
        unsure = delta[:, 4:8].square().sum()  # as C counts it: the last four, whatever they are
        count = whole.new_tensor(len(boxes))
        parts = {"iou": overlap(boxes, target, IoULoss.IOU).sum() / count.clamp(min=1), "count": count}
        parts |= {"class": others / batch, "box": (whole - others - unsure) / batch, "uncertainty": unsure / batch}
        return whole, parts | {"total": whole / batch}


def _density(lacks: Tensor, deviation: Tensor) -> Tensor:
    """Of a normal distribution whose scale, but not whose exponent, has a floor."""
    return (-(lacks / deviation).square() / 2).exp() / (sqrt(2 * pi) * (deviation + _FLOOR))
