"""``[region]``: the head of YOLOv2 and YOLO9000 (https://arxiv.org/abs/1612.08242)."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import RawDetections, decode_grid
from ...cfg import Dialect
from ...cfg.schema import option
from .._class_map import read_map
from .._context import StepContext
from .._loss import Loss
from .._tree import Tree
from ..base import Shape, section
from ._head import DecodeOptions, Head
from ._region_loss import region_loss


@section("region")
class Region(Head):
    """Anchors are in cells of the map; without ``softmax`` AlexeyAB's classes stay raw, pjreddie's are logistic.

    AlexeyAB's output is not a map: the floats of one anchor of one cell stand together, cell by cell,
    in a tensor that keeps the input's shape. pjreddie's keeps the input's order.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Head.Options):
        """Keys of ``parse_region``; ``background`` is pjreddie's."""

        classes: int = option(20, "number of classes")
        num: int = option(1, "number of anchors")
        coords: int = option(4, "numbers per box; more than 4 are masks (pjreddie)")
        softmax: bool = option(False, "softmax over the classes")
        anchors: tuple[float, ...] = option((), "width, height of every anchor in cells")
        tree: pathlib.Path | None = option(None, "file of a class hierarchy")
        map: pathlib.Path | None = option(None, "file of the tree's numbers of another list of classes")
        classfix: int = option(0, "-1: no box with an objectness below 0.5")
        background: bool = option(False, "a class for nothing instead of an objectness (pjreddie)")
        log: bool = option(False, "unused by C", train=True, effect="none")
        sqrt: bool = option(False, "unused by C", train=True, effect="none")
        focal_loss: bool = option(False, "focal loss for classes", train=True)
        rescore: bool = option(False, "train objectness towards the overlap", train=True)
        thresh: float = option(0.5, "overlap above which no-object is not punished", train=True)
        absolute: bool = option(False, "unused by C", train=True, effect="none")
        random: float = option(0.0, "train at changing sizes", train=True)
        coord_scale: float = option(1.0, "factor on the box gradient", train=True)
        object_scale: float = option(1.0, "factor on the objectness gradient of objects", train=True)
        noobject_scale: float = option(1.0, "factor on the objectness gradient elsewhere", train=True)
        mask_scale: float = option(1.0, "factor on the masks' gradient", train=True, effect="unsupported")
        class_scale: float = option(1.0, "factor on the class gradient", train=True)
        bias_match: bool = option(False, "assign anchors by their own size", train=True)

    options: Options
    has_loss = True
    anchors_in_cells = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.pjreddie = options.dialect is Dialect.PJREDDIE
        if options.coords < 4 or (options.coords > 4 and not self.pjreddie):
            raise ValueError(f"coords: expected 4, got {options.coords}")
        if x.channels != self.inputs_for(options.classes):
            raise ValueError(
                f"the layer before has {x.channels} filters, expected {self.inputs_for(options.classes)}: "
                f"num={options.num} * (classes={options.classes} + coords={options.coords} + 1)"
            )
        self.tree = Tree(options.tree) if options.tree else None
        if self.tree and len(self.tree.names) != options.classes:
            raise ValueError(f"tree: {len(self.tree.names)} classes, expected classes={options.classes}")
        self.mapping = read_map(options.map, options.classes) if options.map else None
        self.listed_anchors = tuple(zip(options.anchors[::2], options.anchors[1::2], strict=False))
        values = (*options.anchors, *[0.5] * (2 * options.num))
        self.anchors = tuple(zip(values[: 2 * options.num : 2], values[1 : 2 * options.num : 2], strict=True))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    @property
    def multi_scale(self) -> float:
        """As ``random`` says."""
        return self.options.random

    def inputs_for(self, classes: int) -> int:
        """Maps of the box, objectness and classes for every anchor."""
        return self.options.num * (self.options.coords + 1 + classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, num * (coords + 1 + classes), height, width], shape kept; see the class for the order."""
        t, coords = x.unflatten(1, (self.options.num, -1)), self.options.coords
        box, scores = t[:, :, :coords], t[:, :, coords:]
        if self.pjreddie:
            box = torch.cat((torch.sigmoid(box[:, :, :2]), box[:, :, 2:]), dim=2)
        if self.options.background and self.pjreddie:
            scores = scores.softmax(dim=2)
        else:
            scores = torch.cat((torch.sigmoid(scores[:, :, :1]), self._classes(scores[:, :, 1:])), dim=2)
        y = torch.cat((box, scores), dim=2)
        return y.flatten(1, 2) if self.pjreddie else y.permute(0, 3, 4, 1, 2).flatten(1).reshape(x.shape)

    def _classes(self, t: Tensor) -> Tensor:
        if self.tree:
            return self.tree.softmax(t, 2)
        if self.options.softmax:
            return t.softmax(dim=2)
        return torch.sigmoid(t) if self.pjreddie else t

    def decode(self, output: Tensor, size: tuple[int, int], options: DecodeOptions) -> list[RawDetections]:
        """Boxes with any class above the threshold (``get_region_boxes``)."""
        batch, _, height, width = output.shape
        num, coords = self.options.num, self.options.coords
        if self.pjreddie:
            cells = output.unflatten(1, (num, -1)).permute(0, 1, 3, 4, 2)
            n, row, column = torch.meshgrid(*map(torch.arange, cells.shape[1:4]), indexing="ij")
        else:
            cells = output.reshape(batch, height, width, num, -1)
            row, column, n = torch.meshgrid(*map(torch.arange, cells.shape[1:4]), indexing="ij")
        place = torch.stack((column, row), dim=-1).to(output)
        xy = cells[..., :2] if self.pjreddie else torch.sigmoid(cells[..., :2])
        grid = output.new_tensor((width, height))
        anchors = output.new_tensor(self.anchors)[n.to(output.device)]
        boxes = torch.cat(((place + xy) / grid, cells[..., 2:4].exp() * anchors / grid), dim=-1).flatten(1, 3)
        objectness = cells[..., coords].flatten(1)
        if self.options.background and self.pjreddie:
            objectness = torch.ones_like(objectness)
        if self.options.classfix == -1:
            objectness = torch.where(objectness < 0.5, torch.zeros_like(objectness), objectness)
        found = []
        for box, scale, scores in zip(boxes, objectness, cells[..., coords + 1 :].flatten(1, 3), strict=True):
            probs = self._probs(scale, scores, options)
            rows = (probs > 0).any(dim=1)
            found.append(
                RawDetections(box[rows], scale[rows] if self.pjreddie else torch.ones_like(scale[rows]), probs[rows])
            )
        return found

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """All boxes and objectness * class; with a tree ``decode``'s probabilities at that threshold."""
        if self.tree is not None and (threshold is None or self.pjreddie):
            raise ValueError("with a tree a box's class depends on thresholds: only the raw map can be had")
        num, coords = self.options.num, self.options.coords
        if self.pjreddie:
            cells = output.unflatten(1, (num, -1)).permute(0, 3, 4, 1, 2)
        else:
            cells = output.reshape(output.shape[0], output.shape[2], output.shape[3], num, -1)
        xy = cells[..., :2] if self.pjreddie else torch.sigmoid(cells[..., :2])
        boxes = decode_grid(xy, cells[..., 2:4].exp(), self.anchors, (output.shape[3], output.shape[2]))
        scale = cells[..., coords : coords + 1]
        if self.options.background and self.pjreddie:
            scale = torch.ones_like(scale)
        if self.options.classfix == -1:
            scale = torch.where(scale < 0.5, torch.zeros_like(scale), scale)
        scores = cells[..., coords + 1 :]
        if self.tree is not None and threshold is not None:
            probs = self._probs(scale.flatten(), scores.flatten(0, -2), DecodeOptions(threshold)).view_as(scores)
        else:
            probs = scale * scores
        if self.pjreddie:  # C goes through the anchors first
            boxes, probs = (part.permute(0, 3, 1, 2, 4) for part in (boxes, probs))
        return boxes.flatten(1, 3), probs.flatten(1, 3)

    def _probs(self, scale: Tensor, scores: Tensor, options: DecodeOptions) -> Tensor:
        """Probabilities [n, classes] of one image."""
        sure = scale > options.threshold
        if self.tree is None:
            probs = scale[:, None] * scores
            return torch.where((probs > options.threshold) & (sure[:, None] | (not self.pjreddie)), probs, 0)
        absolute = self.tree.absolute(scores)
        if (mapping := options.reported_classes(self.mapping)) is not None:
            probs = scale[:, None] * absolute[:, mapping.to(scores.device)]
            return torch.where(probs > options.threshold, probs, 0)
        if self.pjreddie:
            best = self.tree.descend(absolute, options.hierarchy)
            value = scale
        else:
            # The last class that is sure enough; C fixes the limit at 0.5 whatever -hier says.
            passed = absolute > options.hierarchy
            best = passed.shape[1] - 1 - passed.flip(1).to(torch.int8).argmax(dim=1)
            value = absolute.gather(1, best[:, None])[:, 0]
            sure = sure & passed.any(dim=1)
        return torch.zeros_like(scores).scatter(1, best[:, None], torch.where(sure, value, 0)[:, None])

    def mapped(self, classes: Tensor) -> Tensor:
        """The head's numbers of the labels' classes [n]."""
        return classes if self.mapping is None else self.mapping.to(classes.device)[classes]

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths [batch, most, 6]; see ``_region_loss``."""
        return region_loss(self, x, output, targets, context)

    def describe(self) -> str:
        """Classes, anchors."""
        return f"{self.options.classes} classes, {self.options.num} anchors"
