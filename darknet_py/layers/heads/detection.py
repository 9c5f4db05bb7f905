"""``[detection]``: the head of YOLOv1 (https://arxiv.org/abs/1506.02640)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import RawDetections, iou
from ...cfg.schema import option
from ...errors import DataError
from .._context import StepContext
from .._loss import Loss, squared_loss
from ..base import Shape, section
from ._extended_losses import HardNegativeOptions
from ._head import BOX_VALUES, DecodeOptions, Head, SelectedRows, check_box_values, require_map
from ._max_iou import is_valid

_RANDOM_UNTIL = 64000  # images


@section("detection")
class Detection(Head):
    """Outputs a vector: class scores of all cells, then objectness of all boxes, then all boxes; without a sigmoid."""

    @dataclass(frozen=True, kw_only=True)
    class Options(HardNegativeOptions, Head.Options):
        """Keys of ``parse_detection``."""

        classes: int = option(1, "number of classes", min=1, max=1000000)
        coords: int = option(1, "values per box; other numbers than 4 are not decoded", min=1, max=10000)
        num: int = option(1, "boxes per cell", min=1, max=10000)
        side: int = option(7, "cells per row and column", min=1, max=65536)
        softmax: bool = option(False, "softmax over the classes of a cell")
        sqrt: bool = option(False, "width and height are predicted as their square roots")
        rescore: bool = option(False, "train objectness towards the IoU instead of 1", train=True)
        coord_scale: float = option(1.0, "weight of the box loss", train=True, min=0)
        object_scale: float = option(1.0, "weight of the objectness loss of positives", train=True, min=0)
        noobject_scale: float = option(1.0, "weight of the objectness loss of negatives", train=True, min=0)
        class_scale: float = option(1.0, "weight of the class loss", train=True, min=0)
        forced: bool = option(
            False, "assign the second box of a cell to small targets, the first to others", train=True
        )
        random: float = option(0.0, "assign a random box of the cell during the first 64000 images", train=True, min=0)
        reorg: bool = option(False, "read by C but not used", train=True, effect="unused")

    options: Options
    has_loss = True
    reads_vectors = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        (expected,) = self.inputs_for(options.classes)
        if x.floats != expected:
            raise ValueError(
                f"the layer before has {x.floats} outputs, expected {expected}: "
                f"side={options.side} squared * (num={options.num} * (1 + coords={options.coords}) + "
                f"classes={options.classes})"
            )
        self.shape = Shape(x.floats, 1, 1)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    def inputs_for(self, classes: int) -> tuple[int, ...]:
        """Classes and boxes of all cells."""
        return (self.options.side**2 * ((1 + self.options.coords) * self.options.num + classes),)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` [batch, ...] as [batch, count, 1, 1], with a softmax of each cell's classes if ``softmax``."""
        flat = x.flatten(1)
        if self.options.softmax:
            classes = self.options.side**2 * self.options.classes
            scores = flat[:, :classes].unflatten(1, (-1, self.options.classes)).softmax(dim=2)
            flat = torch.cat((scores.flatten(1), flat[:, classes:]), dim=1)
        return flat[:, :, None, None]

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes with any class probability above the threshold (``get_detection_detections``)."""
        output = require_map(output)
        boxes, probs = self.decode_all(output, size)
        objectness = output.flatten(1)[:, self.options.side**2 * self.options.classes :][:, : boxes.shape[1]]
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        rows = (probs > 0).any(dim=2)
        return [RawDetections(b[r], o[r], p[r]) for b, o, p, r in zip(boxes, objectness, probs, rows, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all boxes; their probabilities are objectness * class score."""
        side = self.options.side
        num = self.options.num
        classes = self.options.classes
        cells = side * side
        check_box_values("detection", self.options.coords)
        flat = output.flatten(1)
        scores, objectness, box = flat.split((cells * classes, cells * num, cells * num * 4), dim=1)
        box = box.reshape(-1, cells, num, 4)
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        xy = torch.stack((column, row), dim=-1).reshape(1, cells, 1, 2).to(output)
        sizes = box[..., 2:].square() if self.options.sqrt else box[..., 2:]
        boxes = torch.cat(((xy + box[..., :2]) / side, sizes), dim=-1).flatten(1, 2)
        probs = objectness.reshape(-1, cells, num, 1) * scores.reshape(-1, cells, 1, classes)
        return boxes, probs.flatten(1, 2)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the squared error; ``targets``: float [batch, targets, 6] on the CPU, see ``pad_targets``.

        The first target of each cell is trained, with the box of best IoU (``forward_detection_layer``). Outputs are
        not probabilities, so that there is no focal loss.
        """
        options = self.options
        if options.coords != BOX_VALUES:
            raise DataError(f"[detection] coords={options.coords}: expected {BOX_VALUES} values per box to train")
        side = options.side
        cells = side * side
        flat = output.flatten(1)
        splits = (cells * options.classes, cells * options.num, cells * options.num * 4)
        scores, objectness, box = flat.split(splits, dim=1)
        scores, objectness = scores.reshape(len(x) * cells, -1), objectness.reshape(len(x) * cells, -1)
        box = box.reshape(len(x) * cells, options.num, 4)
        cell, target, xy = (part.to(x.device, non_blocking=True) for part in self._first_targets(targets.cpu()))
        with torch.no_grad():
            objectness_target = torch.zeros_like(objectness)
            weight = torch.full_like(objectness, options.noobject_scale)
            cell_iou, error = self._compare(box[cell], target, xy)
            best = torch.where((cell_iou > 0).any(dim=1), cell_iou.argmax(dim=1), error.argmin(dim=1))
            if options.forced:
                best = (target[:, 2:4].prod(dim=1) < 0.1).long()
            if options.random and context.seen < _RANDOM_UNTIL:
                best = torch.randint_like(best, options.num)
            objectness_target[cell, best] = objectness.new_ones(())
            weight[cell, best] = torch.full_like(cell_iou[:, 0], options.object_scale)
            if options.rescore:
                objectness_target[cell, best] = cell_iou[torch.arange(len(best), device=best.device), best]
            options.drop_easy_negatives(
                weight.view(-1),
                objectness_target.view(-1),
                objectness.square().flatten(),
                cell * options.num + best,
                len(x),
            )
            sizes = target[:, 2:4].sqrt() if options.sqrt else target[:, 2:4]
            target_box = torch.cat((xy, sizes), dim=1)
            one_hot = F.one_hot(target[:, 4].long(), options.classes).to(flat.dtype)
        residuals = (objectness_target - objectness, one_hot - scores[cell], target_box - box[cell, best])
        value = (weight * residuals[0].square()).sum() + options.class_scale * residuals[1].square().sum()
        value = (value + options.coord_scale * residuals[2].square().sum()) / 2
        with torch.no_grad():
            d_scores = torch.zeros_like(scores)
            d_scores[cell] = options.class_scale * residuals[1]
            d_box = torch.zeros_like(box)
            d_box[cell, best] = options.coord_scale * residuals[2]
            parts = (d_scores, weight * residuals[0], d_box)
            delta = torch.cat([part.reshape(len(x), -1) for part in parts], dim=1).view_as(x)
            averages = {
                "iou": cell_iou.gather(1, best[:, None]),
                "class": scores[cell, target[:, 4].long()],
                "any_class": scores[cell],
                "object": objectness[cell, best],
            }
            numbers = {name: values.sum() / max(values.numel(), 1) for name, values in averages.items()}
            count = torch.tensor(float(len(best)))
        return squared_loss(delta, value, **numbers, any_object=objectness.detach().mean(), count=count)

    def loss_line(self, index: int, numbers: Mapping[str, float]) -> str:
        """Darknet's line."""
        count = int(numbers["count"])
        names = ("iou", "class", "any_class", "object")
        iou, positive, every, found = (f"{numbers[name]:f}" if count else "-nan" for name in names)
        return (
            f"Detection Avg IOU: {iou}, Pos Cat: {positive}, All Cat: {every}, Pos Obj: {found}, "
            f"Any Obj: {numbers['any_object']:f}, count: {count}"
        )

    def _first_targets(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cell [n], target [n, 6] and position in the cell [n, 2] of the first valid target of every cell."""
        side = self.options.side
        image, index = is_valid(targets, self.options.classes).nonzero().unbind(dim=1)
        target = targets[image, index]
        grid_xy = (target[:, :2] * side).long().clamp(0, side - 1)
        cell = (image * side + grid_xy[:, 1]) * side + grid_xy[:, 0]
        order = torch.arange(len(cell))
        first = order.new_full((len(targets) * side * side,), len(cell)).scatter_reduce_(0, cell, order, "amin")
        is_first = first[cell] == order
        return cell[is_first], target[is_first], (target[:, :2] * side - grid_xy)[is_first]

    def _compare(self, box: Tensor, target: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Return IoU and squared distance [n, num] of a cell's boxes and its target, relative to the cell."""
        side = self.options.side
        sizes = box[..., 2:].square() if self.options.sqrt else box[..., 2:]
        boxes = torch.cat((box[..., :2] / side, sizes), dim=-1)
        target_box = torch.cat((xy / side, target[:, 2:4]), dim=1)[:, None]
        return iou(boxes, target_box), (boxes - target_box).square().sum(dim=-1)

    def describe(self) -> str:
        """Cells, boxes, classes."""
        return (
            f"{self.options.side}x{self.options.side} cells, {self.options.num} boxes, {self.options.classes} classes"
        )
