"""Target assignment of anchor heads: which prediction is trained towards which ground-truth box.

This is ``process_batch`` of ``yolo_layer.c`` without a loop over boxes. Darknet first loops over the predictions,
all of which become negatives unless they overlap a target, and then over the targets, each of which is assigned
to the anchors most similar to it in the cell that contains its centre. Both write to one table, so
order matters: a later target overwrites the objectness target of an earlier one, adds to its box gradient, and
marks another class. Here a match is a row index and a target; the first or last match of a row determines
the contents of Darknet's table.

A row is one anchor of one cell of one image. Darknet's delta of objectness and classes is always
``weight * (target - output)``, minus the derivative of a weighted cross-entropy after a sigmoid.

Matches follow from the targets alone, so they are computed on the CPU: a device gets tables of known sizes, and
nothing waits for it. Only ``truth_thresh`` below 1 and ``objectness_smooth`` of ``[Gaussian_yolo]`` select rows by the
network's output, which is one synchronisation each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ._anchor_loss_options import AnchorLossOptions
from ._box_coder import Anchors, BoxCoder
from ._matching import ClassTable, Matches, class_multipliers, class_table, match_anchors, overlapping_matches
from ._max_iou import max_iou

_MIN_SCORE = 0.25  # a prediction without a class score above this is a negative even where it overlaps a target


class Predictions(NamedTuple):
    """Predictions of a head, image by image.

    Attributes:
        boxes: float [rows, 4], (cx, cy, w, h) relative to the input.
        objectness: float [rows], after the sigmoid.
        scores: float [rows, classes], after the sigmoid.
    """

    boxes: Tensor
    objectness: Tensor
    scores: Tensor


@dataclass
class Targets:
    """Targets and weights of predictions: of objectness for every row, of box and classes for the assigned rows.

    Attributes:
        objectness: float [rows], 0..1.
        objectness_weights: float [rows].
        assigned: int64 [m], distinct rows: those of the matches; in adversarial passes all.
        classes: float [m, classes], 0..1.
        class_weights: float [m, classes].
        box_decay: float [m], weight of an L2 penalty on the box outputs; None except in adversarial passes.
    """

    objectness: Tensor
    objectness_weights: Tensor
    assigned: Tensor
    classes: Tensor
    class_weights: Tensor
    box_decay: Tensor | None = None


class Assignment(NamedTuple):
    """The result of ``assign``.

    Attributes:
        targets: of the predictions.
        positives: predictions with a box loss: those whose IoU with a target is above ``truth_thresh``, then those
            that targets were assigned to.
        slots: int64 [n], the index of each positive's row in ``targets.assigned``, on the CPU.
        first_match: number of the positives at the beginning that no target was assigned to.
    """

    targets: Targets
    positives: Matches
    slots: Tensor
    first_match: int


@dataclass(frozen=True)
class AssignmentRules:
    """Differences between the assignment of ``[yolo]`` and ``[Gaussian_yolo]``; the defaults are those of ``[yolo]``.

    Attributes:
        focal_loss: weight classes by the focal loss (https://arxiv.org/abs/1708.02002, alpha 0.5, gamma 2).
        smooth_classes: with ``objectness_smooth``, ignored predictions are trained towards the target's class, too.
        squared_iou: with ``objectness_smooth``, the objectness target of ignored predictions is IoU**2, not IoU.
        keep_smooth_objectness: with ``objectness_smooth``, a matched prediction keeps its IoU as objectness target.
        adversarial_boxes: an adversarial pass also changes the boxes and raises the other classes.
    """

    focal_loss: bool = False
    smooth_classes: bool = False
    squared_iou: bool = False
    keep_smooth_objectness: bool = True
    adversarial_boxes: bool = True


def assign(
    preds: Predictions,
    gt_boxes: Tensor,
    *,
    anchors: Anchors,
    coder: BoxCoder,
    options: AnchorLossOptions,
    rules: AssignmentRules,
    adversarial: bool = False,
) -> Assignment:
    """Assign targets to the predictions of an anchor head (``process_batch``).

    Args:
        preds: all predictions, in the order image, anchor, row, column.
        gt_boxes: float [batch, targets, 6], (cx, cy, w, h, class, track) relative to the image, padded with zeros; on
            the CPU.
        anchors: the anchors of the cfg and of this head.
        coder: gives the cell of a target, and the sizes of map and input.
        options: thresholds and weights.
        rules: the kind of head.
        adversarial: whether the images are to be perturbed so that objects are missed.
    """
    device = preds.boxes.device
    best_iou, best_target = max_iou(preds.boxes.view(len(gt_boxes), -1, 4), gt_boxes, options.classes)
    has_class = (preds.scores > _MIN_SCORE).any(dim=1)
    confident_iou = torch.where(has_class, best_iou, 0.0)
    ignored = confident_iou > options.ignore_thresh
    matches = match_anchors(gt_boxes, anchors, coder, options)
    smoothed = overlapping = matches.select(slice(0))
    if options.truth_thresh < 1:  # only rounding takes an IoU above 1
        overlapping = overlapping_matches(best_iou > options.truth_thresh, best_iou, best_target, gt_boxes)
    if rules.smooth_classes and options.objectness_smooth:
        smoothed = overlapping_matches(ignored, best_iou, best_target, gt_boxes)
    table = class_table(smoothed, overlapping, matches, options, focal_loss=rules.focal_loss)
    targets = _negatives(preds, confident_iou, ignored, options, rules)
    if adversarial:
        _add_adversarial_targets(targets, preds, ignored, rules)
    rows = overlapping.rows.to(device, non_blocking=True)
    targets.objectness_weights.index_fill_(0, rows, options.obj_normalizer)
    targets.objectness.index_fill_(0, rows, 1.0)
    if options.objectness_smooth:
        targets.objectness[rows] = best_iou[rows].square()
    _set_class_targets(targets, table, preds.scores, focal_loss=rules.focal_loss, dense=adversarial)
    _objectness_targets(targets, preds.objectness, matches, options, rules)
    positives = overlapping.concat(matches)
    if not adversarial:
        options.drop_easy_negatives(
            targets.objectness_weights, targets.objectness, preds.objectness, positives.rows, len(gt_boxes)
        )
    slots = positives.rows if adversarial else table.slots[len(smoothed.rows) :]
    return Assignment(targets, positives, slots, len(overlapping.rows))


def _negatives(
    preds: Predictions,
    confident_iou: Tensor,
    ignored: Tensor,
    options: AnchorLossOptions,
    rules: AssignmentRules,
) -> Targets:
    """Return the targets of all predictions before matching: no object, unless ``ignored`` [rows]; no class."""
    weights = torch.full_like(preds.objectness, options.obj_normalizer)
    if options.objectness_smooth:
        target = torch.where(ignored, confident_iou.square() if rules.squared_iou else confident_iou, 0.0)
    else:
        target = torch.zeros_like(preds.objectness)
        weights.masked_fill_(ignored, 0.0)
    no_class = preds.scores[:0]
    return Targets(target, weights, torch.arange(0, device=target.device), no_class, no_class)


def _add_adversarial_targets(targets: Targets, preds: Predictions, ignored: Tensor, rules: AssignmentRules) -> None:
    """Train the scores, and the boxes too, of all rows towards other values where an object is detected."""
    boxes, objectness, scores = preds
    scale = boxes[:, 2:].prod(dim=1).sqrt().masked_fill_(ignored, 0.0)
    weights = targets.objectness_weights
    weights = torch.where(ignored, weights, weights * scale)
    probs = scores * objectness[:, None]
    detected = probs > _MIN_SCORE
    targets.objectness_weights = weights
    targets.assigned = torch.arange(len(scores), device=scores.device)
    targets.classes = torch.zeros_like(scores)
    targets.class_weights = torch.where(detected, scale[:, None], 0.0)
    targets.box_decay = torch.zeros_like(objectness)
    if rules.adversarial_boxes:
        any_detected = detected.any(dim=1)
        others = any_detected[:, None] & (probs < _MIN_SCORE)
        targets.class_weights = torch.where(others, scale[:, None], targets.class_weights)
        targets.classes = others.to(scores)
        targets.box_decay = torch.where(any_detected, scale, targets.box_decay)


def _set_class_targets(targets: Targets, table: ClassTable, scores: Tensor, *, focal_loss: bool, dense: bool) -> None:
    """Move the class targets to the device; ``dense``: into those of all rows."""
    rows = table.rows.to(scores.device, non_blocking=True)
    values, weights = (part.to(scores, non_blocking=True) for part in (table.values, table.weights))
    if focal_loss:
        # Darknet's gradient of the focal loss at the target class, used as a factor on all classes of the row.
        p = scores[rows, table.first_classes.to(scores.device, non_blocking=True)] + 1e-15
        factor = -0.5 * (1 - p) * (2 * p * p.log() + p - 1)
        weights = torch.where(weights.isnan(), factor[:, None], weights)
    if dense:
        targets.classes[rows] = values
        targets.class_weights[rows] = weights
    else:
        targets.assigned, targets.classes, targets.class_weights = rows, values, weights


def _objectness_targets(
    targets: Targets, objectness: Tensor, matches: Matches, options: AnchorLossOptions, rules: AssignmentRules
) -> None:
    """Set the objectness targets of matched rows; where a row has several matches, the last one's weight is used."""
    keeps = options.objectness_smooth and rules.keep_smooth_objectness
    rows, slots = matches.rows.unique(return_inverse=True)
    order = torch.arange(len(slots))
    chosen = torch.zeros_like(rows).scatter_reduce_(0, slots, order, "amin" if keeps else "amax", include_self=False)
    weights = class_multipliers(matches.select(chosen), options) * options.obj_normalizer
    rows, weights = rows.to(objectness.device, non_blocking=True), weights.to(objectness, non_blocking=True)
    if keeps:
        # Darknet replaces only a delta of exactly 0, by the first match.
        old, old_weights = targets.objectness[rows], targets.objectness_weights[rows]
        is_untrained = old_weights * (old - objectness[rows]) == 0
        weights = torch.where(is_untrained, weights, old_weights)
        targets.objectness[rows] = torch.where(is_untrained, 1.0, old)
    else:
        targets.objectness.index_fill_(0, rows, 1.0)
    targets.objectness_weights[rows] = weights
