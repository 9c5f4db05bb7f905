"""Matches of predictions and ground-truth boxes, and the class targets that follow from them; on the CPU.

They follow from the targets alone, so that their numbers are known without waiting for a device, except for
``overlapping_matches``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import iou
from ._anchor_loss_options import AnchorLossOptions
from ._box_coder import Anchors, BoxCoder
from ._iou import iou_by_kind
from ._max_iou import is_valid


class Matches(NamedTuple):
    """Predictions assigned to targets, in Darknet's order, on the CPU; a row may occur several times.

    Attributes:
        rows: int64 [n], the predictions.
        boxes: float [n, 4], their target boxes, (cx, cy, w, h) relative to the image.
        classes: int64 [n], their target classes.
        tracks: int64 [n], the identity of the target for the row of its most similar anchor, otherwise -1.
        ious: float [n], the prediction's IoU with the target where it is the reason of the match, otherwise 0.
    """

    rows: Tensor
    boxes: Tensor
    classes: Tensor
    tracks: Tensor
    ious: Tensor

    def select(self, index: Tensor | slice) -> Matches:
        """Return the matches at indices, a slice or a bool mask [n]."""
        return Matches(*(part[index] for part in self))

    def concat(self, later: Matches) -> Matches:
        """Return these matches followed by ``later``."""
        return Matches(*(torch.cat(pair) for pair in zip(self, later, strict=True)))


def match_anchors(gt_boxes: Tensor, anchors: Anchors, coder: BoxCoder, options: AnchorLossOptions) -> Matches:
    """Match each target to the most similar anchor and all with an IoU above ``iou_thresh``, in the target's cell.

    Similarity is the IoU of the anchor and the target with a common centre. Anchors of other heads compete, too.
    """
    listed = len(anchors.listed)
    image, index = is_valid(gt_boxes, options.classes).nonzero().unbind(dim=1)
    targets = gt_boxes[image, index]
    shapes = torch.cat((torch.zeros_like(targets[:, :2]), targets[:, 2:4]), dim=1)[:, None]
    anchor_boxes = gt_boxes.new_tensor(anchors.listed) / gt_boxes.new_tensor(coder.input_size)
    anchor_boxes = torch.cat((torch.zeros_like(anchor_boxes), anchor_boxes), dim=1)
    most_similar = F.one_hot(iou(anchor_boxes, shapes).argmax(dim=1), listed).bool()
    assigned = most_similar
    if options.iou_thresh < 1:
        similarity = iou_by_kind(anchor_boxes, shapes, options.iou_thresh_kind, exponent=0.6)
        assigned = most_similar | (similarity > options.iou_thresh)
    # Mask entries beyond the list match no target.
    mask = torch.tensor(anchors.mask)
    assigned = assigned[:, mask.clamp(max=listed - 1)] & (mask < listed)
    number, anchor = assigned.nonzero().unbind(dim=1)
    image, target = image[number], targets[number]
    width, height = coder.grid_size
    column, row = coder.cell(target[:, :4])
    rows = ((image * len(anchors.mask) + anchor) * height + row) * width + column
    tracks = torch.where(most_similar[number, mask[anchor]], target[:, 5].long(), -1)
    return Matches(rows, target[:, :4], target[:, 4].long(), tracks, torch.zeros_like(target[:, 0]))


def overlapping_matches(mask: Tensor, best_iou: Tensor, best_target: Tensor, gt_boxes: Tensor) -> Matches:
    """Match the rows of a mask [rows] to the targets that they overlap best."""
    rows = mask.nonzero()[:, 0]
    ious, index = best_iou[rows].cpu(), best_target[rows].cpu()
    rows = rows.cpu()
    target = gt_boxes[rows // (len(mask) // len(gt_boxes)), index]
    return Matches(rows, target[:, :4], target[:, 4].long(), torch.full_like(rows, -1), ious)


def class_multipliers(matches: Matches, options: AnchorLossOptions) -> Tensor:
    """Return weights, float [n], by inverse class frequency, at most ``max_delta`` (``get_classes_multipliers``)."""
    counters = options.counters_per_class
    if not counters:
        return torch.ones_like(matches.boxes[:, 0])
    multipliers = [min(max(counters) / max(count, 1), options.max_delta) for count in counters]
    return matches.boxes.new_tensor(multipliers)[matches.classes]


class ClassTable(NamedTuple):
    """Class targets of the distinct rows of matches, on the CPU.

    Attributes:
        rows: int64 [m], distinct.
        slots: int64 [n], the index of each match's row in ``rows``.
        first_classes: int64 [m], the class of the first match of each row.
        values: float [m, classes].
        weights: float [m, classes]; NaN where the weight is that of the focal loss.
    """

    rows: Tensor
    slots: Tensor
    first_classes: Tensor
    values: Tensor
    weights: Tensor


def class_table(
    smoothed: Matches, overlapping: Matches, matches: Matches, options: AnchorLossOptions, *, focal_loss: bool
) -> ClassTable:
    """Compute the class targets of each row by its first match; the others each add their class."""
    everything = smoothed.concat(overlapping).concat(matches)
    rows, slots = everything.rows.unique(return_inverse=True)
    order = torch.arange(len(slots))
    first = order.new_full(rows.shape, len(slots)).scatter_reduce_(0, slots, order, "amin")
    firsts = everything.select(first)
    values = F.one_hot(firsts.classes, options.classes).to(matches.boxes.dtype)
    weights = torch.full_like(values, float("nan") if focal_loss else 1.0)
    if not focal_loss:
        values = values * (1 - options.label_smooth_eps) + options.label_smooth_eps / 2
        if options.counters_per_class:
            multipliers = class_multipliers(firsts, options) * options.cls_normalizer
            weights[torch.arange(len(rows)), firsts.classes] = multipliers
    begin, end = len(smoothed.rows), len(smoothed.rows) + len(overlapping.rows)
    if options.objectness_smooth:
        place = (slots[begin:end], overlapping.classes)
        values[place] = overlapping.ious.square()
        weights[place] = class_multipliers(overlapping, options)
    is_repeated = first[slots[end:]] != order[end:]
    place = (slots[end:][is_repeated], matches.classes[is_repeated])
    values[place] = 1 - options.label_smooth_eps / 2
    weights[place] = class_multipliers(matches, options)[is_repeated]
    return ClassTable(rows, slots, firsts.classes, values, weights)
