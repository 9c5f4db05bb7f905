"""``[yolo]``: the anchor-based head of YOLOv3 (https://arxiv.org/abs/1804.02767), v4 and v7."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...boxes import RawDetections, decode_grid
from ...cfg import Dialect
from ...cfg.schema import option
from ..base import section
from ._anchor_head import AnchorHead
from ._assignment import Matches
from ._head import DecodeOptions
from ._iou import IoULoss, overlap, slope


@section("yolo")
class Yolo(AnchorHead):
    """Boxes are relative to the input: anchors are divided by its size, not by the map's or a stride."""

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorHead.Options):
        """Keys of ``parse_yolo``."""

        new_coords: bool = option(False, "sizes are (2 t)^2; the logistic is the layer before's")
        focal_loss: bool = option(False, "focal loss for classes", train=True)
        show_details: bool = option(True, "print parts of the loss", train=True)
        track_history_size: int = option(5, "frames a track is remembered", train=True, effect="none")
        sim_thresh: float = option(0.8, "similarity that joins a track", train=True, effect="none")
        dets_for_track: int = option(1, "boxes that start a track", train=True, effect="none")
        dets_for_show: int = option(1, "boxes before a track is shown", train=True, effect="none")
        track_ciou_norm: float = option(0.01, "weight of overlap against similarity", train=True, effect="none")
        embedding_layer: int = option(999999, "layer with an embedding per anchor", train=True, effect="none")

    options: Options
    tracked: tuple[Tensor, Tensor] | None = None  # identity and class per row of the last mini-batch, -1: none

    def forward(self, x: Tensor) -> Tensor:
        """[batch, anchors * (5 + classes), height, width], shape kept; logistic but for the sizes."""
        t, scale = self.entries(x), self.stretch
        if self.logistic_before:
            xy, wh, scores = t[:, :, :2], t[:, :, 2:4], t[:, :, 4:]
        else:
            xy, wh, scores = torch.sigmoid(t[:, :, :2]), t[:, :, 2:4], torch.sigmoid(t[:, :, 4:])
        if scale != 1:
            xy = xy * scale - (scale - 1) / 2
        return torch.cat((xy, wh, scores), dim=2).flatten(1, 2)

    def fused(self) -> nn.Module | None:
        """``FusedYoloActivation``, unless the layer before applies the logistic."""
        return None if self.logistic_before else FusedYoloActivation(self)

    def decode(self, output: Tensor, size: tuple[int, int], options: DecodeOptions) -> list[RawDetections]:
        """Boxes of the cells whose objectness is above the threshold (``get_yolo_detections``)."""
        rows, places, counts = self.selected(output, options.threshold)
        boxes = self.boxes_of(rows, places, output, size)
        probs = rows[:, 4:5] * rows[:, 5:]
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (boxes, rows[:, 4], probs))
        return [RawDetections(*image) for image in zip(*parts, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """All boxes and objectness * class."""
        rows = self.entries(output).permute(0, 3, 4, 1, 2)
        factor = 4 * rows[..., 2:4].square() if self.logistic_before else rows[..., 2:4].exp()
        boxes = decode_grid(rows[..., :2], factor, self.anchors, size)
        return boxes.flatten(1, 3), (rows[..., 4:5] * rows[..., 5:]).flatten(1, 3)

    @property
    def stretch(self) -> float:
        """How far the logistic that places a centre is stretched about its middle; pjreddie has none of it."""
        return 1.0 if self.options.dialect is Dialect.PJREDDIE else self.options.scale_x_y

    @property
    def logistic_before(self) -> bool:
        """Whether the layer before has taken the logistics, as ``new_coords`` says."""
        return self.options.new_coords and self.options.dialect is not Dialect.PJREDDIE

    def boxes_of(self, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes [n, 4] of rows [n, 5 + classes] (``get_yolo_box``)."""
        factor = 4 * rows[:, 2:4].square() if self.logistic_before else rows[:, 2:4].exp()
        return torch.cat((self.centres(rows[:, :2], places, output), self.sizes(factor, places, size)), dim=1)

    @property
    def focal(self) -> bool:
        """As the option says."""
        return self.options.focal_loss

    def residuals(self, target: Tensor, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """What the box's numbers lack."""
        place, factor = self.wanted(target, places, output, size)
        sizes = (factor / 4).sqrt() if self.logistic_before else factor.log()
        return torch.cat((place, sizes), dim=1) - rows[:, :4]

    def box_delta(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """C's ``delta_yolo_box``: no factor for the logistic or ``scale_x_y``; sizes of new_coords without theirs."""
        if self.options.iou_loss is IoULoss.MSE:
            return _weight(target) * weights[:, None] * lacks
        moves = slope(boxes, target, self.options.iou_loss)
        if not self.logistic_before:
            moves = torch.cat((moves[:, :2], moves[:, 2:] * rows[:, 2:4].exp()), dim=1)
        moves = torch.nan_to_num(moves * weights[:, None], 0.0, 0.0, 0.0)
        return moves.clamp(-self.options.max_delta, self.options.max_delta)

    def box_error(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """One less the overlap, or half the squared error."""
        if self.options.iou_loss is IoULoss.MSE:
            return weights * (_weight(target) * lacks.square()).sum(dim=1) / 2
        return weights * (1 - overlap(boxes, target, self.options.iou_loss))

    def shared_by(self, objectness: Tensor, classes: Tensor) -> Tensor:
        """With ``iou_thresh`` the classes of a row share its box."""
        count = (classes > 0).sum(dim=1).clamp(min=1).to(classes)
        alone = (objectness == 0) | (self.options.iou_thresh >= 1)
        return torch.where(alone, torch.ones_like(count), count)

    def cost(self, delta: Tensor, boxes: Tensor, target: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``forward_yolo_layer`` prints: with an IoU loss, the mean of 1 - IoU instead of the boxes' squares."""
        options, count = self.options, max(1, len(boxes))
        whole, others = delta.square().sum(), options.obj_normalizer * delta[:, 4:].square().sum()
        agreement = overlap(boxes, target, IoULoss.IOU)
        cost = whole
        if options.show_details and options.iou_loss is not IoULoss.MSE:
            measure = overlap(boxes, target, IoULoss.GIOU) if options.iou_loss is IoULoss.GIOU else agreement
            cost = options.iou_normalizer * (1 - measure).sum() / count + others
        parts = {"iou": agreement.sum() / count, "count": whole.new_tensor(len(boxes))}
        parts |= {"class": others / batch, "box": (whole - others) / batch, "total": whole / batch}
        return cost, parts

    def remember(self, claims: Matches, output: Tensor) -> None:
        """Which row was claimed for whom, for embeddings (``l.labels``, ``l.class_ids``)."""
        batch, _, height, width = output.shape
        named = claims.where(claims.tracks >= 0)
        order = torch.arange(len(named.rows), device=output.device)
        none = order.new_full((batch * len(self.mask) * height * width,), -1)
        last = none.scatter_reduce_(0, named.rows, order, "amax")
        tracks, classes = torch.full_like(last, -1), torch.full_like(last, -1)
        tracks[last >= 0], classes[last >= 0] = named.tracks[last[last >= 0]], named.classes[last[last >= 0]]
        self.tracked = (tracks, classes)


class FusedYoloActivation(nn.Module):
    """A ``Yolo`` head's forward in one pass over the whole map and one over the box sizes, which stay as they are."""

    def __init__(self, layer: Yolo) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[batch, anchors * (5 + classes), height, width] of any floating dtype; shape kept, in float32."""
        x = x.float()
        y = x.sigmoid()
        new, old = self.layer.entries(y), self.layer.entries(x)
        new[:, :, 2:4] = old[:, :, 2:4]
        if self.layer.stretch != 1:
            new[:, :, :2].mul_(self.layer.stretch).sub_((self.layer.stretch - 1) / 2)
        return y


def _weight(target: Tensor) -> Tensor:
    """Small objects count up to twice as much."""
    return 2 - target[:, 2:].prod(dim=1, keepdim=True)
