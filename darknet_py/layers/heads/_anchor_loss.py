"""The loss of anchor heads (``yolo_layer.c``, ``gaussian_yolo_layer.c``): C's deltas, and a real loss.

The real loss is a weighted cross-entropy of objectness and classes (half the squared error where the
logistic is the layer before's) and, for every box that a target claims, one less the overlap, or half the
squared error; the same targets and weights as C's deltas have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .._context import StepContext
from .._loss import Loss
from ._assignment import Targets, Where, choose

if TYPE_CHECKING:
    from ._anchor_head import AnchorHead


def rows_of(head: AnchorHead, x: Tensor) -> Tensor:
    """[batch, channels, height, width] as [rows, entries], image by image, anchor by anchor."""
    return head.entries(x).permute(0, 1, 3, 4, 2).flatten(0, 3)


def anchor_loss(head: AnchorHead, x: Tensor, output: Tensor, gt_boxes: Tensor, context: StepContext) -> Loss:
    """The loss for a head's input and output, and targets [batch, most, 6] padded with zeros."""
    gt_boxes, found, places = gt_boxes[:, : head.options.max], rows_of(head, output), places_of(head, x)
    first = head.box_entries
    with torch.no_grad():
        boxes = head.boxes_of(found, places, output, context.size)
        where = Where(len(x), x.shape[2], x.shape[3], context.size, context.adversarial)
        targets, near, claims = choose(head, found, boxes, gt_boxes, where)
        both = near.then(claims)
        weights = head.options.iou_normalizer * head.multipliers(both)
        box = torch.zeros_like(found[:, :first]) - targets.fall[:, None] * found[:, :first]
        mine, spot = found[both.rows], places[both.rows]
        lacks = head.residuals(both.target, mine, spot, output, context.size)
        steps = head.box_delta(mine, boxes[both.rows], both.target, lacks, weights)
        box.index_put_((both.rows,), steps, accumulate=True)
        objectness = _finite(targets.objectness_weights * (targets.objectness - found[:, first]))
        classes = _finite(targets.class_weights * (targets.classes - found[:, first + 1 :]))
        shared = head.shared_by(objectness, classes)
        delta = torch.cat((box / shared[:, None], objectness[:, None], classes), dim=1)
        if context.reject is not None and head.rejects:
            delta = context.reject(delta, head.options.classes)
        cost, parts = head.cost(delta, boxes[claims.rows], claims.target, len(x))
        head.remember(claims, output)
    delta = head.options.delta_normalizer * _map(delta, output, len(head.mask))
    if context.darknet_gradients:
        return Loss(cost, delta, cost, parts)
    value = _cross_entropy(head, rows_of(head, x)[:, first:], found[:, first:], targets)
    mine = found[both.rows]
    boxes = head.boxes_of(mine, spot, output, context.size)
    lacks = head.residuals(both.target, mine, spot, output, context.size)
    value = value + (head.box_error(mine, boxes, both.target, lacks, weights) / shared[both.rows]).sum()
    value = value + (targets.fall[:, None] * found[:, :first].square() / shared[:, None]).sum() / 2
    return Loss(cost, delta, head.options.delta_normalizer * value, parts)


def _finite(delta: Tensor) -> Tensor:
    """As in C, what is no number moves nothing."""
    return torch.nan_to_num(delta, 0.0, 0.0, 0.0)


def _cross_entropy(head: AnchorHead, raw: Tensor, found: Tensor, targets: Targets) -> Tensor:
    """Of objectness and classes; ``raw`` is what the logistics of ``found`` were taken of."""
    goal = torch.cat((targets.objectness[:, None], targets.classes), dim=1)
    weights = torch.cat((targets.objectness_weights[:, None], targets.class_weights), dim=1)
    if head.logistic_before:
        return (weights * (goal - found).square()).sum() / 2
    return F.binary_cross_entropy_with_logits(raw, goal, weights, reduction="sum")


def places_of(head: AnchorHead, x: Tensor) -> Tensor:
    """Image, row, column and anchor [rows, 4] of every row."""
    batch, _, height, width = x.shape
    axes = [torch.arange(n, device=x.device) for n in (batch, len(head.mask), height, width)]
    image, anchor, row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((image, row, column, anchor), dim=-1).flatten(0, 3)


def _map(rows: Tensor, like: Tensor, anchors: int) -> Tensor:
    batch, _, height, width = like.shape
    return rows.reshape(batch, anchors, height, width, -1).permute(0, 1, 4, 2, 3).reshape(like.shape)
