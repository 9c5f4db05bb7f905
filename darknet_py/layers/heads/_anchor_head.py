"""``AnchorHead``, the base of ``[yolo]`` and ``[Gaussian_yolo]``: anchors in pixels of the input, sigmoid scores."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...boxes import NMSKind, NMSOptions
from ...cfg import Dialect
from ...cfg.schema import Conflict, option
from .._class_map import map_classes, read_map
from .._context import StepContext
from .._loss import Loss
from ..base import Shape
from ._anchor_loss import AnchorLoss
from ._anchor_loss_options import AnchorLossOptions
from ._anchors import anchor_conflicts
from ._box_coder import Anchors, BoxCoder, Cells
from ._head import SelectedRows
from ._matching import Matches
from ._multi_scale_head import MultiScaleHead


class AnchorHead(MultiScaleHead):
    """A head that predicts, for every anchor of every cell, a box, objectness, and a score for every class."""

    box_entries: ClassVar[int] = 4  # channels per anchor before the objectness

    @dataclass(frozen=True, kw_only=True)
    class Options(AnchorLossOptions, MultiScaleHead.Options):
        """Keys of ``parse_yolo`` and ``parse_gaussian_yolo``."""

        num: int = option(1, "number of anchors in the list", min=1, max=10000)
        mask: tuple[int, ...] = option(
            (), "indices of this head's anchors in the list; none given: all", min=0, max=9999
        )
        anchors: tuple[float, ...] = option((), "width, height of every anchor in pixels of the input", min=0, max=1e6)
        scale_x_y: float = option(
            1.0, "scale of the sigmoid of the centre: s * sigmoid(t) - (s - 1) / 2", min=0, max=100
        )
        nms_kind: NMSKind = option(
            NMSKind.DEFAULT,
            "overlap measure of NMS; soft-linear, soft-gaussian and wbf are not Darknet's, which takes default instead",
            tolerant=True,
        )
        beta_nms: float = option(0.6, "exponent of the distance term of diounms", min=0, max=100)
        sigma_nms: float = option(
            0.5,
            "soft-gaussian multiplies scores by exp(-IoU^2 / sigma)",
            min=1e-6,
            max=100,
            extension=True,
        )
        map: pathlib.Path | None = option(
            None, "file with the head's class number of every class of the labels", train=True
        )

        def conflicts(self) -> Iterator[Conflict]:
            """Yield what contradicts ``num``."""
            return anchor_conflicts(self.num, self.anchors, self.mask)

    options: Options
    has_loss = True
    prints_loss_to_stderr = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.mask = options.mask or tuple(range(options.num))
        counters = len(options.counters_per_class)
        if counters not in (0, options.classes):
            raise ValueError(f"counters_per_class: expected {options.classes} values, one per class, got {counters}")
        (expected,) = self.inputs_for(options.classes)
        if x.channels != expected:
            raise ValueError(
                f"the layer before has {x.channels} filters, expected {expected}: "
                f"{len(self.mask)} anchors * (classes={options.classes} + {self.box_entries + 1})"
            )
        # Darknet fills missing anchors with 0.5. Beyond num it reads past the end of its array, where the
        # reference build finds zeros (docs/oddities.md, two official cfgs).
        values = (*options.anchors[: 2 * options.num], *[0.5] * (2 * options.num - len(options.anchors)))
        self._anchors = Anchors(tuple(zip(values[::2], values[1::2], strict=True)), self.mask)
        self.anchors = self._anchors.own
        self.listed_anchors = tuple(zip(options.anchors[::2], options.anchors[1::2], strict=False))
        self.label_map = read_map(options.map, options.classes) if options.map else None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.options.classes

    def inputs_for(self, classes: int) -> tuple[int, ...]:
        """Channels of the box, objectness and classes for every anchor."""
        return (len(self.mask) * (self.box_entries + 1 + classes),)

    def entries(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] as [batch, anchors, entries, height, width]."""
        batch, channels, height, width = x.shape
        return x.reshape(batch, len(self.mask), channels // len(self.mask), height, width)

    def cells(self, output: Tensor) -> Tensor:
        """[batch, channels, height, width] as [batch, height, width, anchors, entries], Darknet's order of boxes."""
        return self.entries(output).permute(0, 3, 4, 1, 2)

    def box_coder(self, output: Tensor | SelectedRows, size: tuple[int, int]) -> BoxCoder:
        """Return the coder of boxes for an output map and the network's input size (width, height)."""
        raise NotImplementedError

    @property
    def loss_function(self) -> AnchorLoss:
        """The loss, configured by the options."""
        raise NotImplementedError

    def objectness(self, output: Tensor) -> Tensor:
        """Return the objectness of all predictions, float [rows]."""
        return self.cells(output)[..., self.box_entries].flatten()

    def rows_at(self, output: Tensor, positions: Tensor) -> Tensor:
        """Return the predictions, float [n, entries], at ``positions``, int64 [n]."""
        cells = self.cells(output)
        return cells[torch.unravel_index(positions, cells.shape[:-1])]

    def candidates(
        self, output: Tensor | SelectedRows, coder: BoxCoder, threshold: float
    ) -> tuple[Tensor, Cells, list[int]]:
        """Select predictions by objectness.

        Args:
            output: float [batch, channels, height, width], or its selected rows.
            coder: the coder of its boxes.
            threshold: objectness must be above this.

        Returns:
            The rows, float [n, entries], in Darknet's order; their cells; and their number in each image.
        """
        batch, _, height, width = output.shape
        if isinstance(output, SelectedRows):
            rows = output.rows
            index = torch.unravel_index(output.positions, (batch, height, width, len(self.mask)))
        else:
            cells = self.cells(output)
            index = (cells[..., self.box_entries] > threshold).nonzero(as_tuple=True)
            rows = cells[index]
        image, row, column, anchor = index
        positions = (anchor * height + row) * width + column
        return rows, coder.cells(rows).select(positions), image.bincount(minlength=batch).tolist()

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the loss; ``targets``: float [batch, targets, 6] on the CPU, see ``pad_targets``."""
        return self.loss_and_matches(x, output, targets, context)[0]

    def loss_and_matches(
        self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext
    ) -> tuple[Loss, Matches]:
        """Compute the loss, and return also which predictions targets were assigned to."""
        gt_boxes = map_classes(targets.cpu()[:, : self.options.max], self.label_map, self.options.classes)
        return self.loss_function(x, output, gt_boxes, self.box_coder(output, context.size), context)

    @property
    def nms_options(self) -> NMSOptions:
        """``nms_kind`` and its parameters; the pjreddie dialect has only the default."""
        if self.options.dialect is Dialect.PJREDDIE:
            return NMSOptions()
        return NMSOptions(self.options.nms_kind, self.options.beta_nms, self.options.sigma_nms)

    def describe(self) -> str:
        """Classes, anchors."""
        return f"{self.options.classes} classes, anchors {','.join(map(str, self.mask))}"
