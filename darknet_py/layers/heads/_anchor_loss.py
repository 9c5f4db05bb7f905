"""The loss of anchor heads (``forward_yolo_layer``, ``forward_gaussian_yolo_layer``).

``Loss.value`` is a differentiable loss with the targets and weights of Darknet's delta: binary cross-entropy of
objectness and classes (half the squared error where the layer before applies the sigmoid), and for each matched box
``1 - IoU`` or half the squared error. Losses that are not Darknet's (``focal_gamma``, some of ``iou_loss``) have no
delta of C: theirs is minus the derivative of the value.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .._context import StepContext
from .._loss import Loss
from ._anchor_loss_options import AnchorLossOptions
from ._assignment import Assignment, AssignmentRules, Predictions, Targets, assign
from ._box_coder import Anchors, BoxCoder
from ._matching import Matches, class_multipliers

_TINY = 1e-7  # distance of probabilities from 0 and 1, for logarithms


@dataclass(frozen=True, kw_only=True)
class AnchorLoss(abc.ABC):
    """The loss of one head. What ``[yolo]`` and ``[Gaussian_yolo]`` compute differently is abstract.

    A row is the output for one anchor of one cell: ``box_entries`` values of the box, objectness, class scores.

    Attributes:
        options: thresholds and weights.
        anchors: anchors of the cfg and of the head.
        rules: how targets are assigned.
        activate: computes the head's output from its input.
        inputs_are_probabilities: whether the layer before applies the sigmoid (``new_coords``).
    """

    box_entries: ClassVar[int] = 4
    box_columns: ClassVar[slice] = slice(0, 4)  # of a row: x, y, w, h
    rejects_labels: ClassVar[bool] = True  # whether StepContext.reject is applied

    options: AnchorLossOptions
    anchors: Anchors
    rules: AssignmentRules
    activate: Callable[[Tensor], Tensor]
    inputs_are_probabilities: bool = False

    def __call__(
        self, x: Tensor, output: Tensor, gt_boxes: Tensor, coder: BoxCoder, context: StepContext
    ) -> tuple[Loss, Matches]:
        """Compute the loss of a mini-batch.

        Args:
            x: input of the head, float [batch, anchors * (box_entries + 1 + classes), height, width].
            output: output of the head, same shape.
            gt_boxes: float [batch, targets, 6], (cx, cy, w, h, class, track) relative to the image, padded with zeros;
                on the CPU.
            coder: decodes the head's outputs.
            context: the training step.

        Returns:
            The loss, and the predictions that targets were assigned to.
        """
        first = self.box_entries
        options = self.options
        rows = self._to_rows(output)
        batch = len(x)
        cells = coder.cells(output)
        with torch.no_grad():
            boxes = coder.decode(rows[:, self.box_columns].view(batch, -1, 4), cells).flatten(0, 1)
            preds = Predictions(boxes, rows[:, first], rows[:, first + 1 :])
            assignment = assign(
                preds,
                gt_boxes,
                anchors=self.anchors,
                coder=coder,
                options=options,
                rules=self.rules,
                adversarial=context.adversarial,
            )
            targets = assignment.targets
            positives = self._positives(assignment, coder, rows)
            matched = rows[positives.rows]
            matched_boxes = preds.boxes[positives.rows]
            box_delta = rows.new_zeros(len(targets.assigned), first)
            if targets.box_decay is not None:
                box_delta -= targets.box_decay[:, None] * rows[:, :first]
            if options.iou_loss.is_darknets:
                residuals = positives.encoded - matched[:, self.box_columns]
                matched_delta = self.box_delta(matched, matched_boxes, positives.boxes, residuals, positives.weights)
                box_delta.index_put_((positives.slots,), matched_delta, accumulate=True)
            objectness_delta = _finite(targets.objectness_weights * (targets.objectness - preds.objectness))
            class_delta = _finite(targets.class_weights * (targets.classes - preds.scores[targets.assigned]))
            divisor = self.box_divisor(objectness_delta[targets.assigned], class_delta)
            if divisor is not None:
                box_delta /= divisor[:, None]
            delta = torch.zeros_like(rows)
            assigned_delta = (box_delta, objectness_delta[targets.assigned, None], class_delta)
            delta[targets.assigned] = torch.cat(assigned_delta, dim=1)
            delta[:, first] = objectness_delta
            if options.is_focal or not options.iou_loss.is_darknets:
                self._differentiate(delta, x, targets, positives, coder, divisor)
            if context.reject is not None and self.rejects_labels:
                delta = context.reject(delta, options.classes)
            start = assignment.first_match
            cost, parts = self.cost(delta, matched_boxes[start:], positives.boxes[start:], batch)
        delta = options.delta_normalizer * self._to_map(delta, output)
        found = assignment.positives.select(slice(start, None))
        if context.darknet_gradients:
            return Loss(cost, delta, cost, parts), found
        value = self._value(x, output, targets, positives, coder, divisor)
        return Loss(cost, delta, options.delta_normalizer * value, parts), found

    def _value(
        self,
        x: Tensor,
        output: Tensor,
        targets: Targets,
        positives: _Positives,
        coder: BoxCoder,
        divisor: Tensor | None,
    ) -> Tensor:
        """Compute the differentiable loss, a scalar; ``divisor``: of the box losses of the assigned rows, float [m]."""
        first = self.box_entries
        rows, cells = self._to_rows(output), coder.cells(output)
        value = self._score_loss(self._to_rows(x)[:, first:], rows[:, first:], targets)
        matched = rows[positives.rows]
        boxes = coder.decode(matched[:, self.box_columns], cells.select(positives.positions))
        residuals = positives.encoded - matched[:, self.box_columns]
        box_loss = self.box_loss(matched, boxes, positives.boxes, residuals, positives.weights)
        value = value + (box_loss if divisor is None else box_loss / divisor[positives.slots]).sum()
        if targets.box_decay is not None:
            decay = targets.box_decay[:, None] * rows[:, :first].square()
            value = value + (decay if divisor is None else decay / divisor[:, None]).sum() / 2
        return value

    def _differentiate(
        self,
        delta: Tensor,
        x: Tensor,
        targets: Targets,
        positives: _Positives,
        coder: BoxCoder,
        divisor: Tensor | None,
    ) -> None:
        """Replace the delta, float [rows, entries], of losses that are not Darknet's by minus their derivative."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            value = self._value(leaf, self.activate(leaf), targets, positives, coder, divisor)
            (gradient,) = torch.autograd.grad(value, leaf)
        derivative = _finite(-self._to_rows(gradient))
        first = self.box_entries
        if self.options.is_focal:
            delta[:, first:] = derivative[:, first:]
        if not self.options.iou_loss.is_darknets:
            delta[:, :first] = derivative[:, :first].clamp(-self.options.max_delta, self.options.max_delta)

    def _positives(self, assignment: Assignment, coder: BoxCoder, rows: Tensor) -> _Positives:
        """Compute the box targets on the CPU, and move them to the device of ``rows``."""
        positives = assignment.positives
        own_cells = coder.cells(positives.boxes)
        positions = positives.rows % len(own_cells.xy)
        encoded = coder.encode(positives.boxes, own_cells.select(positions))
        weights = self.options.iou_normalizer * class_multipliers(positives, self.options)
        floats = torch.cat((positives.boxes, encoded, weights[:, None]), dim=1).to(rows, non_blocking=True)
        indices = torch.stack((positives.rows, assignment.slots, positions)).to(rows.device, non_blocking=True)
        return _Positives(indices[0], indices[1], indices[2], floats[:, :4], floats[:, 4:8], floats[:, 8])

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
    def box_divisor(self, objectness_delta: Tensor, class_delta: Tensor) -> Tensor | None:
        """Return the divisor of the rows' box deltas, float [n], given their other deltas; None: 1."""

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

    def _score_loss(self, logits: Tensor, probs: Tensor, targets: Targets) -> Tensor:
        """Sum the loss of objectness and classes, both given as [rows, 1 + classes]."""
        assigned = targets.assigned
        parts = (
            (logits[:, 0], probs[:, 0], targets.objectness, targets.objectness_weights),
            (logits[assigned, 1:], probs[assigned, 1:], targets.classes, targets.class_weights),
        )
        if self.options.is_focal:
            losses = [(w * self._focal_loss(*part)).sum() for *part, w in parts]
        elif self.inputs_are_probabilities:
            losses = [(w * (target - p).square()).sum() / 2 for _, p, target, w in parts]
        else:
            losses = [F.binary_cross_entropy_with_logits(t, target, w, reduction="sum") for t, _, target, w in parts]
        return losses[0] + losses[1]

    def _focal_loss(self, logits: Tensor, probs: Tensor, targets: Tensor) -> Tensor:
        """Compute -alpha_t (1 - p_t)**gamma ln(p_t), elementwise (https://arxiv.org/abs/1708.02002, equation 5).

        For targets between 0 and 1 the logarithm is replaced by the cross-entropy, as in torchvision.
        """
        if self.inputs_are_probabilities:
            cross_entropy = F.binary_cross_entropy(probs.clamp(_TINY, 1 - _TINY), targets, reduction="none")
        else:
            cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return self.options.focal_factor(probs, targets) * cross_entropy


class _Positives(NamedTuple):
    """Positive predictions on the device.

    Attributes:
        rows: int64 [n].
        slots: int64 [n], their indices among the assigned rows.
        positions: int64 [n], their positions in their images, see ``BoxCoder``.
        boxes: float [n, 4], their target boxes.
        encoded: float [n, 4], the outputs x, y, w, h that decode to the target boxes.
        weights: float [n].
    """

    rows: Tensor
    slots: Tensor
    positions: Tensor
    boxes: Tensor
    encoded: Tensor
    weights: Tensor


def _finite(delta: Tensor) -> Tensor:
    """Replace NaN and Inf by 0, as Darknet does (``fix_nan_inf``)."""
    return torch.nan_to_num(delta, 0.0, 0.0, 0.0)
