"""The loss of anchor heads (``forward_yolo_layer``, ``forward_gaussian_yolo_layer``).

``Loss.value`` is a differentiable loss with the targets and weights of Darknet's delta: binary cross-entropy of
objectness and classes (half the squared error where the layer before applies the sigmoid), and for each matched box
``1 - IoU`` or half the squared error.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .._context import StepContext
from .._loss import Loss
from ._anchor_loss_options import AnchorLossOptions
from ._assignment import AssignmentRules, Matches, Predictions, Targets, assign, class_multipliers
from ._box_coder import Anchors, BoxCoder, grid_index


@dataclass(frozen=True, kw_only=True)
class AnchorLoss(abc.ABC):
    """The loss of one head. What ``[yolo]`` and ``[Gaussian_yolo]`` compute differently is abstract.

    A row is the output for one anchor of one cell: ``box_entries`` values of the box, objectness, class scores.

    Attributes:
        options: thresholds and weights.
        anchors: anchors of the cfg and of the head.
        rules: how targets are assigned.
        inputs_are_probabilities: whether the layer before applies the sigmoid (``new_coords``).
    """

    box_entries: ClassVar[int] = 4
    box_columns: ClassVar[slice] = slice(0, 4)  # of a row: x, y, w, h
    rejects_labels: ClassVar[bool] = True  # whether StepContext.reject is applied

    options: AnchorLossOptions
    anchors: Anchors
    rules: AssignmentRules
    inputs_are_probabilities: bool = False

    def __call__(
        self, x: Tensor, output: Tensor, gt_boxes: Tensor, coder: BoxCoder, context: StepContext
    ) -> tuple[Loss, Matches]:
        """Compute the loss of a mini-batch.

        Args:
            x: input of the head, float [batch, anchors * (box_entries + 1 + classes), height, width].
            output: output of the head, same shape.
            gt_boxes: float [batch, targets, 6], (cx, cy, w, h, class, track) relative to the image, padded with zeros.
            coder: decodes the head's outputs.
            context: the training step.

        Returns:
            The loss, and the predictions that targets were assigned to.
        """
        first = self.box_entries
        options = self.options
        rows = self._to_rows(output)
        batch, _, height, width = x.shape
        index = grid_index(batch, len(self.anchors.mask), height, width, x.device)
        with torch.no_grad():
            preds = Predictions(coder.decode(rows[:, self.box_columns], index), rows[:, first], rows[:, first + 1 :])
            targets, overlapping, matches = assign(
                preds,
                gt_boxes,
                anchors=self.anchors,
                coder=coder,
                options=options,
                rules=self.rules,
                adversarial=context.adversarial,
            )
            positives = overlapping.concat(matches)
            weights = options.iou_normalizer * class_multipliers(positives, options)
            encoded = coder.encode(positives.boxes, index.select(positives.rows))
            matched = rows[positives.rows]
            residuals = encoded - matched[:, self.box_columns]
            box_delta = torch.zeros_like(rows[:, :first]) - targets.box_decay[:, None] * rows[:, :first]
            matched_delta = self.box_delta(matched, preds.boxes[positives.rows], positives.boxes, residuals, weights)
            box_delta.index_put_((positives.rows,), matched_delta, accumulate=True)
            objectness_delta = _finite(targets.objectness_weights * (targets.objectness - preds.objectness))
            class_delta = _finite(targets.class_weights * (targets.classes - preds.scores))
            divisor = self.box_divisor(objectness_delta, class_delta)
            delta = torch.cat((box_delta / divisor[:, None], objectness_delta[:, None], class_delta), dim=1)
            if context.reject is not None and self.rejects_labels:
                delta = context.reject(delta, options.classes)
            cost, parts = self.cost(delta, preds.boxes[matches.rows], matches.boxes, batch)
        delta = options.delta_normalizer * self._to_map(delta, output)
        if context.darknet_gradients:
            return Loss(cost, delta, cost, parts), matches
        value = self._cross_entropy(self._to_rows(x)[:, first:], rows[:, first:], targets)
        matched = rows[positives.rows]
        boxes = coder.decode(matched[:, self.box_columns], index.select(positives.rows))
        residuals = encoded - matched[:, self.box_columns]
        box_loss = self.box_loss(matched, boxes, positives.boxes, residuals, weights)
        value = value + (box_loss / divisor[positives.rows]).sum()
        value = value + (targets.box_decay[:, None] * rows[:, :first].square() / divisor[:, None]).sum() / 2
        return Loss(cost, delta, options.delta_normalizer * value, parts), matches

    @abc.abstractmethod
    def box_delta(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute Darknet's delta of matched boxes.

        Args:
            rows: outputs, float [n, entries].
            boxes: decoded boxes, float [n, 4].
            gt_boxes: their targets, float [n, 4].
            residuals: encoded target minus output of x, y, w, h, float [n, 4].
            weights: float [n].

        Returns:
            float [n, box_entries].
        """

    @abc.abstractmethod
    def box_loss(self, rows: Tensor, boxes: Tensor, gt_boxes: Tensor, residuals: Tensor, weights: Tensor) -> Tensor:
        """Compute the differentiable loss of matched boxes, float [n]; arguments as for ``box_delta``."""

    @abc.abstractmethod
    def box_divisor(self, objectness_delta: Tensor, class_delta: Tensor) -> Tensor:
        """Return the divisor of each row's box delta, float [rows], given its other deltas."""

    @abc.abstractmethod
    def cost(self, delta: Tensor, boxes: Tensor, gt_boxes: Tensor, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cost that Darknet prints, and its parts for the log.

        Args:
            delta: float [rows, entries].
            boxes: matched predictions, float [n, 4].
            gt_boxes: their targets, float [n, 4].
            batch: number of images.
        """

    def _to_rows(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [rows, entries], in the order image, anchor, row, column."""
        batch, channels, height, width = x.shape
        anchors = len(self.anchors.mask)
        return x.reshape(batch, anchors, channels // anchors, height, width).permute(0, 1, 3, 4, 2).flatten(0, 3)

    def _to_map(self, rows: Tensor, like: Tensor) -> Tensor:
        """[rows, entries] to the shape of ``like``, the inverse of ``_to_rows``."""
        batch, _, height, width = like.shape
        cells = rows.reshape(batch, len(self.anchors.mask), height, width, -1)
        return cells.permute(0, 1, 4, 2, 3).reshape(like.shape)

    def _cross_entropy(self, logits: Tensor, probs: Tensor, targets: Targets) -> Tensor:
        """Sum the loss of objectness and classes, both given as [rows, 1 + classes]."""
        target = torch.cat((targets.objectness[:, None], targets.classes), dim=1)
        weights = torch.cat((targets.objectness_weights[:, None], targets.class_weights), dim=1)
        if self.inputs_are_probabilities:
            return (weights * (target - probs).square()).sum() / 2
        return F.binary_cross_entropy_with_logits(logits, target, weights, reduction="sum")


def area_weights(gt_boxes: Tensor) -> Tensor:
    """Return weights 2 - w * h, float [n, 1], of boxes float [n, 4]: small objects count up to twice as much."""
    return 2 - gt_boxes[:, 2:].prod(dim=1, keepdim=True)


def _finite(delta: Tensor) -> Tensor:
    """Replace NaN and Inf by 0, as Darknet does (``fix_nan_inf``)."""
    return torch.nan_to_num(delta, 0.0, 0.0, 0.0)
