"""``[yolo]``: the anchor-based head of YOLOv3 (https://arxiv.org/abs/1804.02767), v4 and v7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...boxes import RawDetections, decode_grid
from ...cfg import Dialect
from ...cfg.schema import Conflict, option
from .._context import StepContext
from .._loss import Loss
from .._tracks import AssignedTracks, TrackingHead
from ..base import Shape, section
from ._anchor_head import AnchorHead
from ._assignment import AssignmentRules
from ._box_coder import BoxCoder
from ._box_loss import BoxLoss
from ._head import DecodeOptions, SelectedRows
from ._matching import Matches
from ._yolo_loss import YoloLoss


@section("yolo", "yolo4")  # [yolo4]: this section in sowson's fork, whose [yolo] is pjreddie's
class Yolo(AnchorHead, TrackingHead):
    """Each anchor of each cell outputs (x, y, w, h, objectness, class scores).

    Boxes are relative to the input: anchors are divided by the input's size, not by the map's or a stride.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorHead.Options):
        """Keys of ``parse_yolo``."""

        new_coords: bool = option(False, "sizes are anchor * (2 t)^2, and the layer before applies the sigmoid")
        from_: tuple[int, ...] = option(
            (), "the maps that Ultralytics' yolov3-asff fuses", key="from", effect="unsupported"
        )
        focal_loss: bool = option(False, "focal loss of the classes", train=True)
        show_details: bool = option(True, "print the parts of the loss; changes the printed cost", train=True)
        track_history_size: int = option(5, "frames that a track is kept", train=True, effect="none")
        sim_thresh: float = option(0.8, "similarity above which a detection joins a track", train=True, effect="none")
        dets_for_track: int = option(1, "detections that start a track", train=True, effect="none")
        dets_for_show: int = option(1, "detections before a track is shown", train=True, effect="none")
        track_ciou_norm: float = option(0.01, "weight of IoU against similarity", train=True, effect="none")
        embedding_layer: int = option(
            999999, "layer with an embedding per anchor", train=True, effect="none", layers=True
        )

        def conflicts(self) -> Iterator[Conflict]:
            """Yield two focal losses at once."""
            yield from super().conflicts()
            yield from self.focal_conflicts(self.focal_loss)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        channels = (len(options.mask) or options.num) * (self.box_entries + 1 + options.classes)
        if options.from_ and x.channels == channels + len(options.from_):
            raise ValueError(
                f"from= and {len(options.from_)} filters more than boxes and classes need: adaptive feature fusion "
                "(ASFF) of Ultralytics' yolov3 and programs after it is not supported"
            )
        super().__init__(options, x)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the sigmoid to all but the sizes (``forward_yolo_layer``).

        Args:
            x: float [batch, anchors * (5 + classes), height, width].

        Returns:
            Same shape: ``s * sigmoid(x) - (s - 1) / 2`` for x and y with s = ``scale_x_y``, w and h unchanged, and
            objectness and class scores in 0..1. With ``new_coords`` the sigmoid is applied by the layer before.
        """
        t = self.entries(x)
        scale = self.scale_xy
        if self.new_coords:
            xy, wh, scores = t[:, :, :2], t[:, :, 2:4], t[:, :, 4:]
        else:
            xy, wh, scores = torch.sigmoid(t[:, :, :2]), t[:, :, 2:4], torch.sigmoid(t[:, :, 4:])
        if scale != 1:
            xy = xy * scale - (scale - 1) / 2
        return torch.cat((xy, wh, scores), dim=2).flatten(1, 2)

    def fused(self) -> nn.Module | None:
        """``FusedYoloActivation``, unless the layer before applies the sigmoid."""
        return None if self.new_coords else FusedYoloActivation(self)

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes whose objectness is above the threshold (``get_yolo_detections``)."""
        coder = self.box_coder(output, size)
        rows, cells, counts = self.candidates(output, coder, options.threshold)
        boxes = coder.decode(rows[:, :4], cells)
        probs = rows[:, 4:5] * rows[:, 5:]
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (boxes, rows[:, 4], probs))
        return [RawDetections(*image) for image in zip(*parts, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all boxes; their probabilities are objectness * class score."""
        cells = self.cells(output)
        factor = 4 * cells[..., 2:4].square() if self.new_coords else cells[..., 2:4].exp()
        boxes = decode_grid(cells[..., :2], factor, self.anchors, size)
        return boxes.flatten(1, 3), (cells[..., 4:5] * cells[..., 5:]).flatten(1, 3)

    @property
    def scale_xy(self) -> float:
        """Scale of the sigmoid of x and y about 0.5 (``scale_x_y``); 1 in the pjreddie dialect."""
        return 1.0 if self.options.dialect is Dialect.PJREDDIE else self.options.scale_x_y

    @property
    def new_coords(self) -> bool:
        """Whether the layer before applies the sigmoid, and sizes are ``anchor * (2 t) ** 2``."""
        return self.options.new_coords and self.options.dialect is not Dialect.PJREDDIE

    def box_coder(self, output: Tensor | SelectedRows, size: tuple[int, int]) -> BoxCoder:
        """Return the coder for ``get_yolo_box``."""
        return BoxCoder(self.anchors, (output.shape[3], output.shape[2]), size, squared_size=self.new_coords)

    @property
    def loss_function(self) -> YoloLoss:
        """The loss, configured by the options."""
        return YoloLoss(
            options=self.options,
            anchors=self._anchors,
            activate=self.forward,
            rules=AssignmentRules(focal_loss=self.options.focal_loss),
            inputs_are_probabilities=self.new_coords,
            show_details=self.options.show_details,
        )

    def loss_line(self, index: int, numbers: Mapping[str, float]) -> str:
        """Darknet's line."""
        options = self.options
        kind = "iou" if options.iou_loss in (BoxLoss.IOU, BoxLoss.DIOU, BoxLoss.CIOU) else options.iou_loss
        parts = f"class_loss = {numbers['class']:f}, iou_loss = {numbers['box']:f}, " if options.show_details else ""
        return (
            f"v3 ({kind} loss, Normalizer: (iou: {options.iou_normalizer:.2f}, obj: {options.obj_normalizer:.2f}, "
            f"cls: {options.cls_normalizer:.2f}) Region {index} Avg (IOU: {numbers['iou']:f}), "
            f"count: {max(int(numbers['count']), 1)}, {parts}total_loss = {numbers['total']:f} "
        )

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the loss, and keep ``assigned_tracks``."""
        loss, matches = self.loss_and_matches(x, output, targets, context)
        batch, _, height, width = output.shape
        self.assigned_tracks = _tracks_of_rows(matches, batch * len(self.mask) * height * width)
        return loss


class FusedYoloActivation(nn.Module):
    """A ``Yolo`` head's forward in one pass over the whole map and one over the box sizes, which stay as they are."""

    def __init__(self, layer: Yolo) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return ``layer(x)`` in float32; ``x``: any float dtype, [batch, anchors * (5 + classes), height, width]."""
        x = x.float()
        y = x.sigmoid()
        new = self.layer.entries(y)
        new[:, :, 2:4] = self.layer.entries(x)[:, :, 2:4]
        scale = self.layer.scale_xy
        if scale != 1:
            new[:, :, :2].mul_(scale).sub_((scale - 1) / 2)
        return y


def _tracks_of_rows(matches: Matches, rows: int) -> AssignedTracks:
    """Return identity and class for each of ``rows`` rows, those of its last match that has an identity."""
    known = matches.select(matches.tracks >= 0)
    order = torch.arange(len(known.rows))
    last = order.new_full((rows,), -1).scatter_reduce_(0, known.rows, order, "amax")
    tracks = torch.full_like(last, -1)
    classes = torch.full_like(last, -1)
    tracks[last >= 0] = known.tracks[last[last >= 0]]
    classes[last >= 0] = known.classes[last[last >= 0]]
    return AssignedTracks(tracks, classes)
