"""``[detection]``: the head of YOLOv1 (https://arxiv.org/abs/1506.02640)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import Candidates
from ..schema import option
from .base import Head, Layer, Selection, Shape, section


@section("detection")
class Detection(Head):
    """A flat vector: classes of all cells, then objectness of all boxes, then all boxes; no logistic anywhere."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_detection``."""

        classes: int = option(1, "number of classes")
        coords: int = option(1, "numbers per box; must be 4")
        num: int = option(1, "boxes per cell")
        side: int = option(7, "cells per row and column")
        softmax: bool = option(False, "softmax over the classes of a cell")
        sqrt: bool = option(False, "sizes are given as their square roots")
        rescore: bool = option(False, "train objectness towards the overlap", train=True)
        max: int = option(200, "truths per picture", train=True)
        coord_scale: float = option(1.0, "factor on the box gradient", train=True)
        object_scale: float = option(1.0, "factor on the objectness gradient of objects", train=True)
        noobject_scale: float = option(1.0, "factor on the objectness gradient elsewhere", train=True)
        class_scale: float = option(1.0, "factor on the class gradient", train=True)
        forced: bool = option(False, "assign the box by the truth's size", train=True)
        jitter: float = option(0.2, "change of position and aspect in augmentation", train=True)
        resize: float = option(1.0, "change of size in augmentation", train=True)
        random: float = option(0.0, "assign at random at first", train=True)
        reorg: bool = option(False, "unused by C", train=True)

    options: Options

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

    def decode(self, output: Tensor, size: tuple[int, int], which: Selection) -> list[Candidates]:
        """All boxes with any class above the threshold (``get_detection_detections``)."""
        side, num, classes = self.options.side, self.options.num, self.options.classes
        cells, flat = side * side, output.flatten(1)
        scores, objectness, box = flat.split((cells * classes, cells * num, cells * num * 4), dim=1)
        box = box.reshape(-1, cells, num, 4)
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        place = torch.stack((column, row), dim=-1).reshape(1, cells, 1, 2).to(output)
        sizes = box[..., 2:].square() if self.options.sqrt else box[..., 2:]
        boxes = torch.cat(((place + box[..., :2]) / side, sizes), dim=-1).flatten(1, 2)
        probs = objectness.reshape(-1, cells, num, 1) * scores.reshape(-1, cells, 1, classes)
        probs = torch.where(probs > which.threshold, probs, torch.zeros_like(probs)).flatten(1, 2)
        rows = (probs > 0).any(dim=2)
        return [Candidates(b[r], o[r], p[r]) for b, o, p, r in zip(boxes, objectness, probs, rows, strict=True)]

    def describe(self) -> str:
        """Cells, boxes, classes."""
        return (
            f"{self.options.side}x{self.options.side} cells, {self.options.num} boxes, {self.options.classes} classes"
        )
