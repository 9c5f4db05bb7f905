"""``[detection]``: the head of YOLOv1 (https://arxiv.org/abs/1506.02640)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import RawDetections, iou
from ...cfg.schema import option
from .._context import StepContext
from .._loss import Loss, squared_loss
from ..base import Shape, section
from ._head import DecodeOptions, Head

_RANDOM_UNTIL = 64000  # images


@section("detection")
class Detection(Head):
    """A flat vector: classes of all cells, then objectness of all boxes, then all boxes; no logistic anywhere."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Head.Options):
        """Keys of ``parse_detection``."""

        classes: int = option(1, "number of classes")
        coords: int = option(1, "numbers per box; must be 4")
        num: int = option(1, "boxes per cell")
        side: int = option(7, "cells per row and column")
        softmax: bool = option(False, "softmax over the classes of a cell")
        sqrt: bool = option(False, "sizes are given as their square roots")
        rescore: bool = option(False, "train objectness towards the overlap", train=True)
        coord_scale: float = option(1.0, "factor on the box gradient", train=True)
        object_scale: float = option(1.0, "factor on the objectness gradient of objects", train=True)
        noobject_scale: float = option(1.0, "factor on the objectness gradient elsewhere", train=True)
        class_scale: float = option(1.0, "factor on the class gradient", train=True)
        forced: bool = option(False, "assign the box by the target's size", train=True)
        random: float = option(0.0, "assign at random at first", train=True)
        reorg: bool = option(False, "read by C but not used", train=True, effect="unused")

    options: Options
    has_loss = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if options.coords != 4:
            raise ValueError(f"coords: expected 4, got {options.coords}")
        if x.floats != self.inputs_for(options.classes):
            raise ValueError(
                f"the layer before has {x.floats} outputs, expected {self.inputs_for(options.classes)}: "
                f"side={options.side} squared * (num={options.num} * 5 + classes={options.classes})"
            )
        self.shape = Shape(x.floats, 1, 1)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    def inputs_for(self, classes: int) -> int:
        """Classes and boxes of all cells."""
        return self.options.side**2 * (5 * self.options.num + classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, ...] to [batch, count, 1, 1]."""
        flat = x.flatten(1)
        if self.options.softmax:
            classes = self.options.side**2 * self.options.classes
            scores = flat[:, :classes].unflatten(1, (-1, self.options.classes)).softmax(dim=2)
            flat = torch.cat((scores.flatten(1), flat[:, classes:]), dim=1)
        return flat[:, :, None, None]

    def decode(self, output: Tensor, size: tuple[int, int], options: DecodeOptions) -> list[RawDetections]:
        """All boxes with any class above the threshold (``get_detection_detections``)."""
        boxes, probs = self.decode_all(output, size)
        objectness = output.flatten(1)[:, self.options.side**2 * self.options.classes :][:, : boxes.shape[1]]
        probs = torch.where(probs > options.threshold, probs, torch.zeros_like(probs))
        rows = (probs > 0).any(dim=2)
        return [RawDetections(b[r], o[r], p[r]) for b, o, p, r in zip(boxes, objectness, probs, rows, strict=True)]

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """All boxes and objectness * class."""
        side, num, classes = self.options.side, self.options.num, self.options.classes
        cells, flat = side * side, output.flatten(1)
        scores, objectness, box = flat.split((cells * classes, cells * num, cells * num * 4), dim=1)
        box = box.reshape(-1, cells, num, 4)
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        place = torch.stack((column, row), dim=-1).reshape(1, cells, 1, 2).to(output)
        sizes = box[..., 2:].square() if self.options.sqrt else box[..., 2:]
        boxes = torch.cat(((place + box[..., :2]) / side, sizes), dim=-1).flatten(1, 2)
        probs = objectness.reshape(-1, cells, num, 1) * scores.reshape(-1, cells, 1, classes)
        return boxes, probs.flatten(1, 2)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths [batch, most, 6]: the first in a cell is trained, by the box of the cell that fits it best."""
        options, side = self.options, self.options.side
        cells, flat = side * side, output.flatten(1)
        splits = (cells * options.classes, cells * options.num, cells * options.num * 4)
        scores, objectness, box = flat.split(splits, dim=1)
        scores, objectness = scores.reshape(len(x) * cells, -1), objectness.reshape(len(x) * cells, -1)
        box = box.reshape(len(x) * cells, options.num, 4)
        cell, target, place = self._placed(targets)
        with torch.no_grad():
            want, weight = torch.zeros_like(objectness), torch.full_like(objectness, options.noobject_scale)
            agreement, error = self._fit(box[cell], target, place)
            best = torch.where((agreement > 0).any(dim=1), agreement.argmax(dim=1), error.argmin(dim=1))
            if options.forced:
                best = (target[:, 2:4].prod(dim=1) < 0.1).long()
            if options.random and context.seen < _RANDOM_UNTIL:
                best = torch.randint_like(best, options.num)
            want[cell, best], weight[cell, best] = 1.0, options.object_scale
            if options.rescore:
                want[cell, best] = agreement[torch.arange(len(best), device=best.device), best]
            sizes = target[:, 2:4].sqrt() if options.sqrt else target[:, 2:4]
            goal = torch.cat((place, sizes), dim=1)
            hits = F.one_hot(target[:, 4].long(), options.classes).to(flat.dtype)
        lacks = (want - objectness, hits - scores[cell], goal - box[cell, best])
        value = (weight * lacks[0].square()).sum() + options.class_scale * lacks[1].square().sum()
        value = (value + options.coord_scale * lacks[2].square().sum()) / 2
        with torch.no_grad():
            d_scores, d_box = torch.zeros_like(scores), torch.zeros_like(box)
            d_scores[cell], d_box[cell, best] = options.class_scale * lacks[1], options.coord_scale * lacks[2]
            parts = (d_scores, weight * lacks[0], d_box)
            delta = torch.cat([part.reshape(len(x), -1) for part in parts], dim=1).view_as(x)
            count = value.new_tensor(len(best))
            fit = agreement.max(dim=1).values.sum() / count.clamp(min=1) if len(best) else count
        return squared_loss(delta, value, iou=fit, count=count)

    def _placed(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cell, target [n, 6] and place in the cell [n, 2] of the first target of every cell."""
        side = self.options.side
        image, number = ((targets[..., 0] != 0) & (targets[..., 4] < self.options.classes)).nonzero().unbind(dim=1)
        target = targets[image, number]
        corner = (target[:, :2] * side).long().clamp(0, side - 1)
        cell = (image * side + corner[:, 1]) * side + corner[:, 0]
        order = torch.arange(len(cell), device=cell.device)
        first = order.new_full((len(targets) * side * side,), len(cell)).scatter_reduce_(0, cell, order, "amin")
        chosen = first[cell] == order
        return cell[chosen], target[chosen], (target[:, :2] * side - corner)[chosen]

    def _fit(self, box: Tensor, target: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Overlap and distance [n, num] of a cell's boxes and its target, both placed as if the cell were the first."""
        side = self.options.side
        sizes = box[..., 2:].square() if self.options.sqrt else box[..., 2:]
        boxes = torch.cat((box[..., :2] / side, sizes), dim=-1)
        goal = torch.cat((place / side, target[:, 2:4]), dim=1)[:, None]
        return iou(boxes, goal), (boxes - goal).square().sum(dim=-1)

    def describe(self) -> str:
        """Cells, boxes, classes."""
        return (
            f"{self.options.side}x{self.options.side} cells, {self.options.num} boxes, {self.options.classes} classes"
        )
