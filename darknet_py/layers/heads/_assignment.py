"""Target assignment of anchor heads: which prediction is trained towards which ground-truth box.

This is ``process_batch`` of ``yolo_layer.c`` without a loop over boxes. Darknet first loops over the predictions,
all of which become negatives unless they overlap a target, and then over the targets, each of which is assigned
to the anchors most similar to it in the cell that contains its centre. Both write to one table, so
order matters: a later target overwrites the objectness target of an earlier one, adds to its box gradient, and
marks another class. Here a match is a row index and a target; the first or last match of a row determines
the contents of Darknet's table.

A row is one anchor of one cell of one image. Darknet's delta of objectness and classes is always
``weight * (target - output)``, minus the derivative of a weighted cross-entropy after a sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import iou
from ._anchor_loss_options import AnchorLossOptions
from ._box_coder import Anchors, BoxCoder
from ._iou import iou_by_kind
from ._max_iou import is_valid, max_iou

_MIN_SCORE = 0.25  # a prediction without a class score above this is a negative even where it overlaps a target


class Matches(NamedTuple):
    """Predictions assigned to targets, in Darknet's order; a row may occur several times.

    Attributes:
        rows: int64 [n], the predictions.
        boxes: float [n, 4], their target boxes, (cx, cy, w, h) relative to the image.
        classes: int64 [n], their target classes.
        tracks: int64 [n], the identity of the target for the row of its most similar anchor, otherwise -1.
    """

    rows: Tensor
    boxes: Tensor
    classes: Tensor
    tracks: Tensor

    def select(self, mask: Tensor) -> Matches:
        """Return the matches where a bool mask [n] is true."""
        return Matches(*(part[mask] for part in self))

    def concat(self, later: Matches) -> Matches:
        """Return these matches followed by ``later``."""
        return Matches(*(torch.cat(pair) for pair in zip(self, later, strict=True)))


@dataclass
class Targets:
    """Targets and weights of every prediction.

    Attributes:
        objectness: float [rows], 0..1.
        objectness_weights: float [rows].
        classes: float [rows, classes], 0..1.
        class_weights: float [rows, classes].
        box_decay: float [rows], weight of an L2 penalty on the box outputs; above 0 in adversarial passes only.
    """

    objectness: Tensor
    objectness_weights: Tensor
    classes: Tensor
    class_weights: Tensor
    box_decay: Tensor


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


class Assignment(NamedTuple):
    """The result of ``assign``.

    Attributes:
        targets: of all predictions.
        overlapping: predictions whose IoU with a target is above ``truth_thresh``.
        matches: predictions that targets were assigned to.
    """

    targets: Targets
    overlapping: Matches
    matches: Matches


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
        gt_boxes: float [batch, targets, 6], (cx, cy, w, h, class, track) relative to the image, padded with zeros.
        anchors: the anchors of the cfg and of this head.
        coder: gives the cell of a target, and the sizes of map and input.
        options: thresholds and weights.
        rules: the kind of head.
        adversarial: whether the images are to be perturbed so that objects are missed.
    """
    best_iou, best_target = max_iou(preds.boxes.view(len(gt_boxes), -1, 4), gt_boxes, options.classes)
    has_class = (preds.scores > _MIN_SCORE).any(dim=1)
    confident_iou = torch.where(has_class, best_iou, torch.zeros_like(best_iou))
    ignored = confident_iou > options.ignore_thresh
    targets = _negatives(preds, confident_iou, ignored, options, rules, adversarial)
    overlapping = _overlapping(best_iou > options.truth_thresh, best_target, gt_boxes)
    early = overlapping
    if rules.smooth_classes and options.objectness_smooth:
        early = _overlapping(ignored, best_target, gt_boxes).concat(overlapping)
    matches = _match_anchors(gt_boxes, anchors, coder, options)
    repeated = _class_targets(targets, preds.scores, early.concat(matches), options, rules)[len(early.rows) :]
    rows = overlapping.rows
    targets.objectness_weights[rows] = options.obj_normalizer
    targets.objectness[rows] = 1.0
    if options.objectness_smooth:
        targets.objectness[rows] = best_iou[rows].square()
        targets.classes[rows, overlapping.classes] = best_iou[rows].square()
        targets.class_weights[rows, overlapping.classes] = class_multipliers(overlapping, options)
    later = matches.select(repeated)
    targets.classes[later.rows, later.classes] = 1 - options.label_smooth_eps / 2
    targets.class_weights[later.rows, later.classes] = class_multipliers(later, options)
    _objectness_targets(targets, preds.objectness, matches, options, rules)
    return Assignment(targets, overlapping, matches)


def class_multipliers(matches: Matches, options: AnchorLossOptions) -> Tensor:
    """Return weights, float [n], by inverse class frequency, at most ``max_delta`` (``get_classes_multipliers``)."""
    counters = options.counters_per_class
    if not counters:
        return torch.ones_like(matches.boxes[:, 0])
    multipliers = [min(max(counters) / max(count, 1), options.max_delta) for count in counters]
    return matches.boxes.new_tensor(multipliers)[matches.classes]


def _negatives(
    preds: Predictions,
    confident_iou: Tensor,
    ignored: Tensor,
    options: AnchorLossOptions,
    rules: AssignmentRules,
    adversarial: bool,
) -> Targets:
    """Return the targets of all predictions before matching: no object, unless ``ignored`` [rows]."""
    boxes, objectness, scores = preds
    target = torch.zeros_like(objectness)
    weights = torch.full_like(objectness, options.obj_normalizer)
    classes = torch.zeros_like(scores)
    class_weights = torch.zeros_like(scores)
    box_decay = torch.zeros_like(objectness)
    if options.objectness_smooth:
        smooth = confident_iou.square() if rules.squared_iou else confident_iou
        target = torch.where(ignored, smooth, target)
    else:
        weights = torch.where(ignored, torch.zeros_like(weights), weights)
    if adversarial:
        scale = torch.where(ignored, torch.zeros_like(weights), boxes[:, 2:].prod(dim=1).sqrt())
        weights = torch.where(ignored, weights, weights * scale)
        probs = scores * objectness[:, None]
        detected = probs > _MIN_SCORE
        class_weights = torch.where(detected, scale[:, None], class_weights)
        if rules.adversarial_boxes:
            any_detected = detected.any(dim=1)
            others = any_detected[:, None] & (probs < _MIN_SCORE)
            class_weights = torch.where(others, scale[:, None], class_weights)
            classes = others.to(classes)
            box_decay = torch.where(any_detected, scale, box_decay)
    return Targets(target, weights, classes, class_weights, box_decay)


def _class_targets(
    targets: Targets, scores: Tensor, matches: Matches, options: AnchorLossOptions, rules: AssignmentRules
) -> Tensor:
    """Set the class targets of each row by its first match; return the mask [n] of the other matches."""
    rows = matches.rows
    order = torch.arange(len(rows), device=rows.device)
    first = order.new_full((len(scores),), len(rows)).scatter_reduce_(0, rows, order, "amin")
    is_first = first[rows] == order
    firsts = matches.select(is_first)
    rows, _, classes, _ = firsts
    one_hot = F.one_hot(classes, options.classes).to(scores.dtype)
    if rules.focal_loss:
        # Darknet's gradient of the focal loss at the target class, used as a factor on all classes of the row.
        p = scores[rows, classes] + 1e-15
        factor = -0.5 * (1 - p) * (2 * p * p.log() + p - 1)
        targets.classes[rows] = one_hot
        targets.class_weights[rows] = factor[:, None].expand_as(one_hot)
        return ~is_first
    targets.classes[rows] = one_hot * (1 - options.label_smooth_eps) + options.label_smooth_eps / 2
    targets.class_weights[rows] = torch.ones_like(one_hot)
    if options.counters_per_class:
        targets.class_weights[rows, classes] = class_multipliers(firsts, options) * options.cls_normalizer
    return ~is_first


def _objectness_targets(
    targets: Targets, objectness: Tensor, matches: Matches, options: AnchorLossOptions, rules: AssignmentRules
) -> None:
    """Set the objectness targets of matched rows; where a row has several matches, the last one's weight is used."""
    rows = matches.rows
    order = torch.arange(len(rows), device=rows.device)
    if options.objectness_smooth and rules.keep_smooth_objectness:
        # Darknet replaces only a delta of exactly 0, by the first match.
        untrained = (targets.objectness_weights * (targets.objectness - objectness))[rows] == 0
        first = order.new_full(objectness.shape, len(rows)).scatter_reduce_(0, rows, order, "amin")
        mask = untrained & (first[rows] == order)
    else:
        last = order.new_full(objectness.shape, -1).scatter_reduce_(0, rows, order, "amax")
        mask = last[rows] == order
    positives = matches.select(mask)
    targets.objectness[positives.rows] = 1.0
    targets.objectness_weights[positives.rows] = class_multipliers(positives, options) * options.obj_normalizer


def _overlapping(mask: Tensor, best_target: Tensor, gt_boxes: Tensor) -> Matches:
    """Match the rows of a mask [rows] to the targets that they overlap best."""
    rows = mask.nonzero()[:, 0]
    target = gt_boxes.flatten(0, 1)[best_target[rows]]
    return Matches(rows, target[:, :4], target[:, 4].long(), torch.full_like(rows, -1))


def _match_anchors(gt_boxes: Tensor, anchors: Anchors, coder: BoxCoder, options: AnchorLossOptions) -> Matches:
    """Match each target to the most similar anchor and all with an IoU above ``iou_thresh``, in the target's cell.

    Similarity is the IoU of the anchor and the target with a common centre. Anchors of other heads compete, too.
    """
    listed = len(anchors.listed)
    shapes = torch.cat((torch.zeros_like(gt_boxes[..., :2]), gt_boxes[..., 2:4]), dim=-1)[:, :, None]
    anchor_boxes = gt_boxes.new_tensor(anchors.listed) / gt_boxes.new_tensor(coder.input_size)
    anchor_boxes = torch.cat((torch.zeros_like(anchor_boxes), anchor_boxes), dim=-1)
    most_similar = F.one_hot(iou(anchor_boxes, shapes).argmax(dim=2), listed).bool()
    assigned = most_similar
    if options.iou_thresh < 1:
        similarity = iou_by_kind(anchor_boxes, shapes, options.iou_thresh_kind, exponent=0.6)
        assigned = most_similar | (similarity > options.iou_thresh)
    # Mask entries beyond the list match no target.
    mask = torch.tensor(anchors.mask, device=gt_boxes.device)
    assigned = assigned[:, :, mask.clamp(max=listed - 1)] & (mask < listed)
    image, index, anchor = (assigned & is_valid(gt_boxes, options.classes)[:, :, None]).nonzero().unbind(dim=1)
    target = gt_boxes[image, index]
    is_most_similar = most_similar[image, index, mask[anchor]]
    width, height = coder.grid_size
    column, row = coder.cell(target[:, :4])
    rows = ((image * len(anchors.mask) + anchor) * height + row) * width + column
    tracks = torch.where(is_most_similar, target[:, 5].long(), -1)
    return Matches(rows, target[:, :4], target[:, 4].long(), tracks)
