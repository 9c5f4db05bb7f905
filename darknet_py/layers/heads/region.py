"""``[region]``: the head of YOLOv2 and YOLO9000 (https://arxiv.org/abs/1612.08242)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import RawDetections, decode_grid
from ...cfg import Dialect
from ...cfg.schema import Conflict, option
from .._class_map import read_map
from .._context import StepContext
from .._loss import Loss
from .._tree import Tree
from ..base import Shape, section
from ._anchors import anchor_conflicts
from ._head import DecodeOptions, SelectedRows, check_box_values, require_map
from ._multi_scale_head import MultiScaleHead
from ._region_loss import RegionLoss
from ._region_loss_options import RegionLossOptions
from ._region_predictions import RegionPredictions


@section("region")
class Region(MultiScaleHead):
    """Each anchor of each cell outputs (x, y, w, h, objectness, class scores); anchors are in cells of the map.

    AlexeyAB's output is not a map: its tensor has the input's shape, but holds the values of one anchor of one cell
    contiguously, cell by cell. pjreddie's keeps the input's order. Without ``softmax`` or ``tree``, AlexeyAB's
    class scores stay raw, while pjreddie's are sigmoids.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(RegionLossOptions, MultiScaleHead.Options):
        """Keys of ``parse_region``."""

        anchors: tuple[float, ...] = option((), "width, height of every anchor in cells", min=0, max=1e6)
        tree: pathlib.Path | None = option(None, "file with a class hierarchy")
        map: pathlib.Path | None = option(None, "file with the tree's class number of every class to report")
        log: bool = option(False, "read by C but not used", train=True, effect="unused")
        sqrt: bool = option(False, "read by C but not used", train=True, effect="unused")
        absolute: bool = option(False, "read by C but not used", train=True, effect="unused")
        mask_scale: float = option(1.0, "weight of the mask loss", train=True, effect="unsupported", min=0)

        def conflicts(self) -> Iterator[Conflict]:
            """Yield what contradicts ``num``, and a focal loss without probabilities."""
            yield from anchor_conflicts(self.num, self.anchors)
            yield from self.focal_conflicts(self.focal_loss)
            if self.is_focal and not (self.softmax or self.tree or self.dialect is Dialect.PJREDDIE):
                text = "expected 1 with focal_gamma= or focal_alpha=: without it, class scores are not probabilities"
                yield Conflict("softmax", text, stops_training=True)

    options: Options
    has_loss = True
    anchors_in_cells = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.pjreddie = options.dialect is Dialect.PJREDDIE
        (expected,) = self.inputs_for(options.classes)
        if x.channels != expected:
            raise ValueError(
                f"the layer before has {x.channels} filters, expected {expected}: "
                f"num={options.num} * (classes={options.classes} + coords={options.coords} + 1)"
            )
        self.tree = Tree(options.tree) if options.tree else None
        if self.tree and len(self.tree.names) != options.classes:
            raise ValueError(f"tree: {len(self.tree.names)} classes, expected classes={options.classes}")
        self.label_map = read_map(options.map, options.classes) if options.map else None
        values = (*options.anchors, *[0.5] * (2 * options.num))
        self.anchors = tuple(zip(values[: 2 * options.num : 2], values[1 : 2 * options.num : 2], strict=True))
        self.listed_anchors = tuple(zip(options.anchors[::2], options.anchors[1::2], strict=False))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    def inputs_for(self, classes: int) -> tuple[int, ...]:
        """Channels of the box, objectness and classes for every anchor."""
        return (self.options.num * (self.options.coords + 1 + classes),)

    def forward(self, x: Tensor) -> Tensor:
        """Apply sigmoid and softmax (``forward_region_layer``).

        Args:
            x: float [batch, num * (coords + 1 + classes), height, width].

        Returns:
            Same shape; see the class for the order of its values.
        """
        coords = self.options.coords
        t = x.unflatten(1, (self.options.num, -1))
        box, scores = t[:, :, :coords], t[:, :, coords:]
        if self.pjreddie:
            box = torch.cat((torch.sigmoid(box[:, :, :2]), box[:, :, 2:]), dim=2)
        if self.options.background and self.pjreddie:
            scores = scores.softmax(dim=2)
        else:
            class_scores = self._class_scores(scores[:, :, 1:], dim=2)
            scores = torch.cat((torch.sigmoid(scores[:, :, :1]), class_scores), dim=2)
        y = torch.cat((box, scores), dim=2)
        return y.flatten(1, 2) if self.pjreddie else y.permute(0, 3, 4, 1, 2).flatten(1).reshape(x.shape)

    def _class_scores(self, t: Tensor, dim: int = 1) -> Tensor:
        """Scores of the classes, in dimension ``dim`` of ``t``."""
        if self.tree:
            return self.tree.softmax(t, dim)
        if self.options.softmax:
            return t.softmax(dim=dim)
        return torch.sigmoid(t) if self.pjreddie else t

    def _cells(self, output: Tensor) -> Tensor:
        """The output as [batch, height, width, anchors, coords + 1 + classes]."""
        batch, _, height, width = output.shape
        if self.pjreddie:
            return output.reshape(batch, self.options.num, -1, height, width).permute(0, 3, 4, 1, 2)
        return output.reshape(batch, height, width, self.options.num, -1)

    def predictions(self, output: Tensor) -> RegionPredictions:
        """Decode all predictions of ``output`` [batch, channels, height, width] (``get_region_box``)."""
        check_box_values("region", self.options.coords, masks=self.pjreddie)
        cells = self._cells(output)
        coords = self.options.coords
        height, width = output.shape[2:]
        axes = (torch.arange(n, device=output.device) for n in (height, width))
        row, column = torch.meshgrid(*axes, indexing="ij")
        grid_xy = torch.stack((column, row), dim=-1)[:, :, None].to(output)
        xy = cells[..., :2] if self.pjreddie else torch.sigmoid(cells[..., :2])
        log_size = cells[..., 2:4]
        constants = torch.tensor([(width, height), *self.anchors]).to(output, non_blocking=True)
        grid_size = constants[0]
        sizes = log_size.exp() * constants[1:] / grid_size
        boxes = torch.cat(((grid_xy + xy) / grid_size, sizes), dim=-1)
        return RegionPredictions(xy, log_size, cells[..., coords], cells[..., coords + 1 :], boxes)

    @property
    def trains_class_only(self) -> bool:
        """With a class tree in pjreddie's dialect; AlexeyAB's loader drops such targets (``fill_truth_detection``)."""
        return self.tree is not None and self.pjreddie

    @property
    def tree_names(self) -> Sequence[str]:
        """Names of the tree's classes."""
        return self.tree.names if self.tree else ()

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes with any class probability above the threshold (``get_region_boxes``)."""
        output = require_map(output)
        preds = self.predictions(output)
        objectness = self._scale(preds.objectness)
        parts = tuple(self._flatten(part) for part in (preds.boxes, objectness[..., None], preds.scores))
        detections = []
        for boxes, scale, scores in zip(*parts, strict=True):
            scale = scale[:, 0]
            probs = self._probs(scale, scores, options)
            rows = (probs > 0).any(dim=1)
            confidence = scale[rows] if self.pjreddie else torch.ones_like(scale[rows])
            detections.append(RawDetections(boxes[rows], confidence, probs[rows]))
        return detections

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all boxes; their probabilities are objectness * class, with a tree those of ``decode``."""
        if self.tree is not None and (threshold is None or self.pjreddie):
            raise ValueError("with a class tree, probabilities depend on thresholds: only raw outputs can be exported")
        check_box_values("region", self.options.coords, masks=self.pjreddie)
        cells = self._cells(output)
        coords = self.options.coords
        xy = cells[..., :2] if self.pjreddie else torch.sigmoid(cells[..., :2])
        boxes = decode_grid(xy, cells[..., 2:4].exp(), self.anchors, (output.shape[3], output.shape[2]))
        scale, scores = self._scale(cells[..., coords : coords + 1]), cells[..., coords + 1 :]
        if self.tree is not None and threshold is not None:
            probs = self._probs(scale.flatten(), scores.flatten(0, -2), DecodeOptions(threshold)).view_as(scores)
        else:
            probs = scale * scores
        return self._flatten(boxes), self._flatten(probs)

    def _scale(self, objectness: Tensor) -> Tensor:
        """The factor of the class scores."""
        if self.options.background and self.pjreddie:
            objectness = torch.ones_like(objectness)
        if self.options.classfix == -1:
            objectness = torch.where(objectness < 0.5, torch.zeros_like(objectness), objectness)
        return objectness

    def _flatten(self, cells: Tensor) -> Tensor:
        """[batch, height, width, anchors, ...] as [batch, n, ...] in Darknet's order; pjreddie's has anchors first."""
        return (cells.permute(0, 3, 1, 2, 4) if self.pjreddie else cells).flatten(1, 3)

    def _probs(self, scale: Tensor, scores: Tensor, options: DecodeOptions) -> Tensor:
        """Probabilities [n, classes] of objectness [n] and class scores [n, classes]; 0 if not above the threshold."""
        is_object = scale > options.threshold
        if self.tree is None:
            probs = scale[:, None] * scores
            return torch.where((probs > options.threshold) & (is_object[:, None] | (not self.pjreddie)), probs, 0)
        absolute = self.tree.absolute(scores)
        if (class_map := options.reported_classes(self.label_map)) is not None:
            probs = scale[:, None] * absolute[:, class_map.to(scores.device)]
            return torch.where(probs > options.threshold, probs, 0)
        if self.pjreddie:
            best = self.tree.descend(absolute, options.hierarchy)
            value = scale
        else:
            # The last class above the threshold; Darknet fixes the threshold at 0.5 regardless of -hier.
            passed = absolute > options.hierarchy
            best = passed.shape[1] - 1 - passed.flip(1).to(torch.int8).argmax(dim=1)
            value = absolute.gather(1, best[:, None])[:, 0]
            is_object = is_object & passed.any(dim=1)
        return torch.zeros_like(scores).scatter(1, best[:, None], torch.where(is_object, value, 0)[:, None])

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the loss; ``targets``: float [batch, targets, 6] on the CPU, see ``pad_targets``."""
        loss_function = RegionLoss(
            options=self.options,
            anchors=self.anchors,
            class_scores=self._class_scores,
            tree=self.tree,
            class_map=self.label_map,
        )
        return loss_function(x, self.predictions(output), targets.cpu()[:, : self.options.max], context.seen)

    def loss_line(self, index: int, numbers: Mapping[str, float]) -> str:
        """Darknet's line."""
        count = int(numbers["count"])
        iou, found, recall = (f"{numbers[name]:f}" if count else "-nan" for name in ("iou", "object", "recall"))
        score = f"{numbers['class']:f}" if count or numbers["class"] else "-nan"  # of classes without a box, too
        return (
            f"Region Avg IOU: {iou}, Class: {score}, Obj: {found}, No Obj: {numbers['any_object']:f}, "
            f"Avg Recall: {recall},  count: {count}"
        )

    def describe(self) -> str:
        """Classes, anchors."""
        return f"{self.options.classes} classes, {self.options.num} anchors"
