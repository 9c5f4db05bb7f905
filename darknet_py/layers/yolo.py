"""``[yolo]``: the anchor-based head of YOLOv3 (https://arxiv.org/abs/1804.02767), v4 and v7."""

from __future__ import annotations

import enum
import pathlib
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import Candidates, NMSKind, Suppression
from ..cfg import Dialect
from ..errors import UnusedOptionWarning
from ..schema import option
from .base import Head, Layer, Selection, Shape, section

_NO_LIMIT = float("inf")


class IoULoss(enum.StrEnum):
    """What ``iou_loss=`` may say."""

    MSE = "mse"
    IOU = "iou"
    GIOU = "giou"
    DIOU = "diou"
    CIOU = "ciou"


class AnchorHead(Head):
    """What ``[yolo]`` and ``[Gaussian_yolo]`` share: anchors in pixels of the input, one logistic per class."""

    box_entries = 4  # maps per anchor before the objectness

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_yolo`` and ``parse_gaussian_yolo``."""

        classes: int = option(20, "number of classes")
        num: int = option(1, "number of anchors in the list")
        mask: tuple[int, ...] = option((), "anchors of this head; none given: all")
        anchors: tuple[float, ...] = option((), "width, height of every anchor in pixels of the input")
        scale_x_y: float = option(1.0, "stretch of the logistic that places a centre in its cell")
        nms_kind: NMSKind = option(NMSKind.DEFAULT, "which overlap suppresses")
        beta_nms: float = option(0.6, "exponent of diounms")
        max: int = option(200, "truths per picture", train=True)
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
        jitter: float = option(0.2, "change of position and aspect in augmentation", train=True)
        resize: float = option(1.0, "change of size in augmentation", train=True)
        ignore_thresh: float = option(0.5, "overlap above which no-object is not punished", train=True)
        truth_thresh: float = option(1.0, "overlap above which a box is trained towards its truth", train=True)
        iou_thresh: float = option(1.0, "overlap above which further anchors are trained", train=True)
        random: float = option(0.0, "train at changing sizes", train=True)
        map: pathlib.Path | None = option(None, "file of class numbers of the labels", train=True)

    options: Options

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
        self.anchors = tuple((values[2 * n], values[2 * n + 1]) for n in self.mask)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    def inputs_for(self, classes: int) -> int:
        """Maps of the box, objectness and classes for every anchor."""
        return len(self.mask) * (self.box_entries + 1 + classes)

    def entries(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] as [batch, anchors, entries, height, width]."""
        batch, channels, height, width = x.shape
        return x.reshape(batch, len(self.mask), channels // len(self.mask), height, width)

    def selected(self, output: Tensor, threshold: float) -> tuple[Tensor, Tensor, list[int]]:
        """Rows [n, entries] whose objectness is above the threshold, in C's order.

        Also their places [n, 4] (picture, row, column, anchor) and how many each picture has.
        """
        cells = self.entries(output).permute(0, 3, 4, 1, 2)
        places = (cells[..., self.box_entries] > threshold).nonzero()
        rows = cells[tuple(places.unbind(dim=1))]
        return rows, places, places[:, 0].bincount(minlength=output.shape[0]).tolist()

    def centres(self, xy: Tensor, places: Tensor, output: Tensor) -> Tensor:
        """Centres relative to the input."""
        return (places[:, [2, 1]] + xy) / xy.new_tensor((output.shape[3], output.shape[2]))

    def sizes(self, factor: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
        """Widths and heights relative to the input: ``factor`` times the anchor, over the input's size."""
        return factor * factor.new_tensor(self.anchors)[places[:, 3]] / factor.new_tensor(size)

    @property
    def suppression(self) -> Suppression:
        """As the options say; pjreddie's dialect knows one kind."""
        if self.options.dialect is Dialect.PJREDDIE:
            return Suppression()
        return Suppression(self.options.nms_kind, self.options.beta_nms)

    def describe(self) -> str:
        """Classes, anchors."""
        return f"{self.options.classes} classes, anchors {','.join(map(str, self.mask))}"


@section("yolo")
class Yolo(AnchorHead):
    """Boxes are relative to the input: anchors are divided by its size, not by the map's or a stride."""

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorHead.Options):
        """Keys of ``parse_yolo``."""

        new_coords: bool = option(False, "sizes are (2 t)^2; the logistic is the layer before's")
        focal_loss: bool = option(False, "focal loss for classes", train=True)
        show_details: bool = option(True, "print parts of the loss", train=True)
        track_history_size: int = option(5, "frames a track is remembered", train=True)
        sim_thresh: float = option(0.8, "similarity that joins a track", train=True)
        dets_for_track: int = option(1, "boxes that start a track", train=True)
        dets_for_show: int = option(1, "boxes before a track is shown", train=True)
        track_ciou_norm: float = option(0.01, "weight of overlap against similarity", train=True)
        embedding_layer: int = option(999999, "layer with an embedding per anchor", train=True)

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """[batch, anchors * (5 + classes), height, width], shape kept; logistic but for the sizes."""
        pjreddie = self.options.dialect is Dialect.PJREDDIE
        t, scale = self.entries(x), 1.0 if pjreddie else self.options.scale_x_y
        if self.options.new_coords and not pjreddie:
            xy, wh, scores = t[:, :, :2], t[:, :, 2:4], t[:, :, 4:]
        else:
            xy, wh, scores = torch.sigmoid(t[:, :, :2]), t[:, :, 2:4], torch.sigmoid(t[:, :, 4:])
        if scale != 1:
            xy = xy * scale - (scale - 1) / 2
        return torch.cat((xy, wh, scores), dim=2).flatten(1, 2)

    def decode(self, output: Tensor, size: tuple[int, int], which: Selection) -> list[Candidates]:
        """Boxes of the cells whose objectness is above the threshold (``get_yolo_detections``)."""
        rows, places, counts = self.selected(output, which.threshold)
        new_coords = self.options.new_coords and self.options.dialect is not Dialect.PJREDDIE
        factor = 4 * rows[:, 2:4].square() if new_coords else rows[:, 2:4].exp()
        boxes = torch.cat((self.centres(rows[:, :2], places, output), self.sizes(factor, places, size)), dim=1)
        probs = rows[:, 4:5] * rows[:, 5:]
        probs = torch.where(probs > which.threshold, probs, torch.zeros_like(probs))
        parts = (part.split(counts) for part in (boxes, rows[:, 4], probs))
        return [Candidates(*picture) for picture in zip(*parts, strict=True)]
