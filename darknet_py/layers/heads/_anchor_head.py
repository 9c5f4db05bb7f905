"""What ``[yolo]`` and ``[Gaussian_yolo]`` share: anchors in pixels of the input, one logistic per class."""

from __future__ import annotations

import pathlib
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import NMSKind, NMSOptions
from ...cfg import Dialect
from ...cfg.schema import option
from ...errors import UnusedOptionWarning
from .._class_map import read_map
from .._context import StepContext
from .._loss import Loss
from ..base import Shape
from ._anchor_loss import anchor_loss
from ._assignment import Matches
from ._head import Head
from ._iou import IoULoss

_NO_LIMIT = float("inf")


class AnchorHead(Head):
    """What ``[yolo]`` and ``[Gaussian_yolo]`` share: anchors in pixels of the input, one logistic per class."""

    box_entries = 4  # maps per anchor before the objectness

    @dataclass(frozen=True, kw_only=True)
    class Options(Head.Options):
        """Keys of ``parse_yolo`` and ``parse_gaussian_yolo``."""

        classes: int = option(20, "number of classes")
        num: int = option(1, "number of anchors in the list")
        mask: tuple[int, ...] = option((), "anchors of this head; none given: all")
        anchors: tuple[float, ...] = option((), "width, height of every anchor in pixels of the input")
        scale_x_y: float = option(1.0, "stretch of the logistic that places a centre in its cell")
        nms_kind: NMSKind = option(NMSKind.DEFAULT, "which overlap suppresses")
        beta_nms: float = option(0.6, "exponent of diounms")
        max_delta: float = option(_NO_LIMIT, "limit of a box gradient's absolute value", train=True)
        counters_per_class: tuple[int, ...] = option((), "objects per class, for class weights", train=True)
        label_smooth_eps: float = option(0.0, "label smoothing", train=True)
        objectness_smooth: bool = option(False, "train objectness towards the overlap", train=True)
        iou_normalizer: float = option(0.75, "factor on the box gradient", train=True)
        obj_normalizer: float = option(1.0, "factor on the objectness gradient", train=True)
        cls_normalizer: float = option(1.0, "factor on the class gradient", train=True)
        delta_normalizer: float = option(1.0, "factor on all gradients", train=True)
        iou_loss: IoULoss = option(IoULoss.MSE, "loss of a box", train=True)
        iou_thresh_kind: IoULoss = option(IoULoss.IOU, "overlap that assigns anchors", train=True)
        ignore_thresh: float = option(0.5, "overlap above which no-object is not punished", train=True)
        truth_thresh: float = option(1.0, "overlap above which a box is trained towards its target", train=True)
        iou_thresh: float = option(1.0, "overlap above which further anchors are trained", train=True)
        random: float = option(0.0, "train at changing sizes", train=True)
        map: pathlib.Path | None = option(None, "file of class numbers of the labels", train=True)

    options: Options
    has_loss = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.mask = options.mask or tuple(range(options.num))
        if min(self.mask) < 0:
            raise ValueError(f"mask: expected numbers from 0, got {self.mask}")
        if max(self.mask) >= options.num:
            warnings.warn(
                f"[{self.names[0]}] mask={self.mask} goes beyond num={options.num}: those anchors have no size",
                UnusedOptionWarning,
                stacklevel=2,
            )
        if options.counters_per_class and len(options.counters_per_class) != options.classes:
            raise ValueError(
                f"counters_per_class: {len(options.counters_per_class)} numbers for classes={options.classes}"
            )
        if x.channels != self.inputs_for(options.classes):
            raise ValueError(
                f"the layer before has {x.channels} filters, expected {self.inputs_for(options.classes)}: "
                f"{len(self.mask)} anchors * (classes={options.classes} + {self.box_entries + 1})"
            )
        # C fills the anchors that a file leaves out with 0.5; beyond num it reads past its array, where
        # the reference build finds zeros (docs/oddities.md, two official cfgs).
        listed = options.anchors[: 2 * options.num]
        values = (*listed, *[0.5] * (2 * options.num - len(listed)), *[0.0] * (2 * max(self.mask) + 2))
        self.listed_anchors = tuple(zip(options.anchors[::2], options.anchors[1::2], strict=False))
        self.listed = tuple(zip(values[: 2 * options.num : 2], values[1 : 2 * options.num : 2], strict=True))
        self.mapping = read_map(options.map, options.classes) if options.map else None
        self.anchors = tuple((values[2 * n], values[2 * n + 1]) for n in self.mask)

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
        return len(self.mask) * (self.box_entries + 1 + classes)

    def entries(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] as [batch, anchors, entries, height, width]."""
        batch, channels, height, width = x.shape
        return x.reshape(batch, len(self.mask), channels // len(self.mask), height, width)

    def selected(self, output: Tensor, threshold: float) -> tuple[Tensor, Tensor, list[int]]:
        """Rows [n, entries] whose objectness is above the threshold, in C's order.

        Also their places [n, 4] (image, row, column, anchor) and how many each image has.
        """
        cells = self.rows(output)
        places = (cells[..., self.box_entries] > threshold).nonzero()
        rows = cells[tuple(places.unbind(dim=1))]
        return rows, places, places[:, 0].bincount(minlength=output.shape[0]).tolist()

    def rows(self, output: Tensor) -> Tensor:
        """All rows: [batch, height, width, anchors, entries]."""
        return self.entries(output).permute(0, 3, 4, 1, 2)

    def centres(self, xy: Tensor, places: Tensor, output: Tensor) -> Tensor:
        """Centres relative to the input."""
        return (places[:, [2, 1]] + xy) / xy.new_tensor((output.shape[3], output.shape[2]))

    def sizes(self, factor: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
        """Widths and heights relative to the input: ``factor`` times the anchor, over the input's size."""
        return factor * factor.new_tensor(self.anchors)[places[:, 3]] / factor.new_tensor(size)

    def corner(self, target: Tensor) -> Tensor:
        """The point [n, 2] of boxes [n, 4] that lies in their cell."""
        return target[:, :2]

    def wanted(self, target: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Where in its cell a target [n, 4] lies, and how many anchors wide and high it is, each [n, 2]."""
        grid = target.new_tensor((output.shape[3], output.shape[2]))
        anchors = target.new_tensor(self.anchors)[places[:, 3]]
        return self.corner(target) * grid - places[:, [2, 1]], target[:, 2:] * target.new_tensor(size) / anchors

    def multipliers(self, claims: Matches) -> Tensor:
        """The weights [n] of claims: rare classes count more, up to ``max_delta`` (``get_classes_multipliers``)."""
        counters = self.options.counters_per_class
        if not counters:
            return torch.ones_like(claims.target[:, 0])
        each = [min(max(counters) / max(count, 1), self.options.max_delta) for count in counters]
        return claims.target.new_tensor(each)[claims.classes]

    def mapped(self, classes: Tensor) -> Tensor:
        """The head's numbers of the labels' classes [n]."""
        return classes if self.mapping is None else self.mapping.to(classes.device)[classes]

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths [batch, most, 6]; see ``_anchor_loss``."""
        return anchor_loss(self, x, output, targets, context)

    # What the two heads do differently, with [yolo]'s way where it is a word.
    match_marks_class = False  # objectness_smooth: an overlapping prediction is taught the target's class, too
    keeps_smooth = True  # objectness_smooth: a claimed row stays with what its overlap said
    attack_is_whole = True  # an adversarial pass moves all classes and the box
    rejects = True  # bad labels are dropped

    @property
    def focal(self) -> bool:
        """Whether classes have a focal loss."""
        return False

    @property
    def logistic_before(self) -> bool:
        """Whether the layer before has taken the logistics."""
        return False

    def match_target(self, matches: Tensor) -> Tensor:
        """objectness_smooth: what a prediction's objectness shall be whose overlap [n] is above ignore_thresh."""
        return matches

    def boxes_of(self, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes [n, 4] relative to the input, of rows [n, entries] at ``places`` [n, 4] of the map ``output``."""
        raise NotImplementedError

    def residuals(self, target: Tensor, rows: Tensor, places: Tensor, output: Tensor, size: tuple[int, int]) -> Tensor:
        """What x, y, w, h of rows lack to be the targets [n, 4]."""
        raise NotImplementedError

    def box_delta(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """C's delta [n, box_entries] of the rows' boxes; ``lacks``: their residuals."""
        raise NotImplementedError

    def box_error(self, rows: Tensor, boxes: Tensor, target: Tensor, lacks: Tensor, weights: Tensor) -> Tensor:
        """The real loss [n] of the rows' boxes."""
        raise NotImplementedError

    def shared_by(self, objectness: Tensor, classes: Tensor) -> Tensor:
        """What a row's box delta is divided by [rows], given the deltas of the others."""
        raise NotImplementedError

    def cost(self, delta: Tensor, boxes: Tensor, target: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """C's cost of deltas [rows, entries], and parts for the log; ``target`` [n, 4] claims ``boxes`` [n, 4]."""
        raise NotImplementedError

    def remember(self, claims: Matches, output: Tensor) -> None:
        """Keep which rows were claimed, for layers that need it."""

    @property
    def nms_options(self) -> NMSOptions:
        """As the options say; pjreddie's dialect knows one kind."""
        if self.options.dialect is Dialect.PJREDDIE:
            return NMSOptions()
        return NMSOptions(self.options.nms_kind, self.options.beta_nms)

    def describe(self) -> str:
        """Classes, anchors."""
        return f"{self.options.classes} classes, anchors {','.join(map(str, self.mask))}"
