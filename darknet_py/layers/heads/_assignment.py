"""Which prediction of an anchor head shall become which target (``process_batch``), without a loop over boxes.

C walks twice: over all predictions, whose objectness shall fall unless they overlap a target, and over all
targets, each of which claims predictions at its place. Both write into one table, so that order counts:
a later target overwrites the objectness of an earlier one, adds to its box and marks one more class. Here
a claim is a row number and a target, and who came first or last at a row says what C's table holds.

A row is one anchor of one cell. C's delta of objectness and classes is ``weight * (target - output)``
throughout, which is minus the derivative of a weighted cross-entropy behind a logistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import iou
from ._iou import overlap

if TYPE_CHECKING:
    from ._anchor_head import AnchorHead

_PAIRS = 1 << 24  # overlaps of predictions with targets that are held in memory at once
_SURE = 0.25  # an overlapping prediction without a class above it is punished all the same


class Matches(NamedTuple):
    """Rows [n] that shall become targets [n, 4] of classes [n]; all in C's order.

    ``tracks``: identities [n] of the targets that claim the row of their likest anchor, otherwise -1.
    """

    rows: Tensor
    target: Tensor
    classes: Tensor
    tracks: Tensor

    def where(self, chosen: Tensor) -> Matches:
        """Those that a mask [n] picks."""
        return Matches(*(part[chosen] for part in self))

    def then(self, later: Matches) -> Matches:
        """These and later ones."""
        return Matches(*(torch.cat(pair) for pair in zip(self, later, strict=True)))


@dataclass
class Targets:
    """What objectness [rows] and classes [rows, classes] shall become, and what that weighs."""

    objectness: Tensor
    objectness_weights: Tensor
    classes: Tensor
    class_weights: Tensor
    fall: Tensor  # [rows], weight of the box's own numbers becoming 0: adversarial passes alone


class Where(NamedTuple):
    """The map that rows come from: its shape, and the input's width and height in pixels."""

    batch: int
    height: int
    width: int
    size: tuple[int, int]
    adversarial: bool


def choose(
    head: AnchorHead, found: Tensor, boxes: Tensor, gt_boxes: Tensor, where: Where
) -> tuple[Targets, Matches, Matches]:
    """Targets of all rows, the claims of predictions that are near a target, and those of targets.

    ``found``: outputs [rows, entries]; ``boxes``: [rows, 4]; ``gt_boxes``: [batch, most, 6] padded with zeros.
    """
    options = head.options
    best, which = best_overlap(boxes.view(where.batch, -1, 4), gt_boxes, options.classes)
    sure = (found[:, head.box_entries + 1 :] > _SURE).any(dim=1)
    matches = torch.where(sure, best, torch.zeros_like(best))
    targets = _background(head, found, boxes, matches, where.adversarial)
    near = _nearest(head, best > options.truth_thresh, which, gt_boxes)
    early = near
    if head.match_marks_class and options.objectness_smooth:
        early = _nearest(head, matches > options.ignore_thresh, which, gt_boxes).then(near)
    claims = _assigned(head, gt_boxes, where)
    later = _mark_first(head, targets, found, early.then(claims))[len(early.rows) :]
    targets.objectness_weights[near.rows] = options.obj_normalizer
    targets.objectness[near.rows] = 1.0
    if options.objectness_smooth:
        targets.objectness[near.rows] = best[near.rows].square()
        targets.classes[near.rows, near.classes] = best[near.rows].square()
        targets.class_weights[near.rows, near.classes] = head.multipliers(near)
    again = claims.where(later)
    targets.classes[again.rows, again.classes] = 1 - options.label_smooth_eps / 2
    targets.class_weights[again.rows, again.classes] = head.multipliers(again)
    _raise(head, targets, found[:, head.box_entries], claims)
    return targets, near, claims


def _mark_first(head: AnchorHead, targets: Targets, found: Tensor, events: Matches) -> Tensor:
    """Let the first claim of each row say what all its classes shall become; return the mask of later claims."""
    options, rows = head.options, events.rows
    order = torch.arange(len(rows), device=rows.device)
    first = order.new_full((len(found),), len(rows)).scatter_reduce_(0, rows, order, "amin")
    is_first = first[rows] == order
    firsts = events.where(is_first)
    rows, _, classes, _ = firsts
    hits = F.one_hot(classes, options.classes).to(found.dtype)
    if head.focal:
        # The constant of C's focal loss: alpha 0.5, gamma 2, a factor on the whole row.
        p = found[rows, head.box_entries + 1 + classes] + 1e-15
        factor = -0.5 * (1 - p) * (2 * p * p.log() + p - 1)
        targets.classes[rows], targets.class_weights[rows] = hits, factor[:, None].expand_as(hits)
        return ~is_first
    targets.classes[rows] = hits * (1 - options.label_smooth_eps) + options.label_smooth_eps / 2
    targets.class_weights[rows] = torch.ones_like(hits)
    if options.counters_per_class:
        targets.class_weights[rows, classes] = head.multipliers(firsts) * options.cls_normalizer
    return ~is_first


def _raise(head: AnchorHead, targets: Targets, objectness: Tensor, claims: Matches) -> None:
    """Claimed rows hold an object: the last claim's weight counts."""
    rows, order = claims.rows, torch.arange(len(claims.rows), device=claims.rows.device)
    if head.options.objectness_smooth and head.keeps_smooth:
        # C leaves alone what is trained already; only a delta of exactly 0 is replaced, by the first claim.
        still = (targets.objectness_weights * (targets.objectness - objectness))[rows] == 0
        first = order.new_full(objectness.shape, len(rows)).scatter_reduce_(0, rows, order, "amin")
        chosen = still & (first[rows] == order)
    else:
        last = order.new_full(objectness.shape, -1).scatter_reduce_(0, rows, order, "amax")
        chosen = last[rows] == order
    raised = claims.where(chosen)
    targets.objectness[raised.rows] = 1.0
    targets.objectness_weights[raised.rows] = head.multipliers(raised) * head.options.obj_normalizer


def _valid(gt_boxes: Tensor, classes: int) -> Tensor:
    return (gt_boxes[..., 0] != 0) & (gt_boxes[..., 4] >= 0) & (gt_boxes[..., 4] < classes)


def best_overlap(boxes: Tensor, gt_boxes: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Best overlap [rows] of boxes [batch, n, 4] with a target, and that target's number among all of ``gt_boxes``."""
    batch, count, _ = boxes.shape
    best, which = boxes.new_zeros(batch, count), torch.zeros(batch, count, dtype=torch.long, device=boxes.device)
    valid, width = _valid(gt_boxes, classes), max(1, _PAIRS // max(1, batch * count))
    for start in range(0, gt_boxes.shape[1], width):
        part = slice(start, start + width)
        overlaps = _pairwise(boxes, gt_boxes[:, part, :4]).mul_(valid[:, None, part])
        most, number = overlaps.max(dim=2)
        which = torch.where(most > best, number + start, which)
        best = torch.maximum(best, most)
    first = torch.arange(batch, device=boxes.device)[:, None] * gt_boxes.shape[1]
    return best.flatten(), (which + first).flatten()


def _pairwise(a: Tensor, b: Tensor) -> Tensor:
    """``iou`` of boxes [batch, n, 4] with [batch, m, 4]: [batch, n, m], in as little memory as it takes."""
    sides = []
    for axis in (0, 1):
        p, q = a[:, :, None, axis], b[:, None, :, axis]
        half_p, half_q = a[:, :, None, axis + 2] / 2, b[:, None, :, axis + 2] / 2
        side = torch.minimum(p + half_p, q + half_q).sub_(torch.maximum(p - half_p, q - half_q))
        sides.append(side.clamp_(min=0))
    shared = sides[0].mul_(sides[1])
    union = (a[..., 2] * a[..., 3])[:, :, None] + (b[..., 2] * b[..., 3])[:, None] - shared
    return shared.div_(union.masked_fill_(shared == 0, 1))


def _nearest(head: AnchorHead, chosen_rows: Tensor, which: Tensor, gt_boxes: Tensor) -> Matches:
    """The rows of a mask with the targets that they overlap best."""
    rows = chosen_rows.nonzero()[:, 0]
    chosen = gt_boxes.flatten(0, 1)[which[rows]]
    return Matches(rows, chosen[:, :4], head.mapped(chosen[:, 4].long()), torch.full_like(rows, -1))


def _assigned(head: AnchorHead, gt_boxes: Tensor, where: Where) -> Matches:
    """The rows that targets claim: the anchor of the likest shape, and all that are like enough."""
    options, height, width = head.options, where.height, where.width
    shapes = torch.cat((torch.zeros_like(gt_boxes[..., :2]), gt_boxes[..., 2:4]), dim=-1)[:, :, None]
    anchors = gt_boxes.new_tensor(head.listed) / gt_boxes.new_tensor(where.size)
    anchors = torch.cat((torch.zeros_like(anchors), anchors), dim=-1)
    likest = F.one_hot(iou(anchors, shapes).argmax(dim=2), len(head.listed)).bool()
    like = likest
    if options.iou_thresh < 1:
        like = likest | (overlap(anchors, shapes, options.iou_thresh_kind, 0.6) > options.iou_thresh)
    # Numbers of the mask that the list does not have belong to no target.
    mask = torch.tensor(head.mask, device=gt_boxes.device)
    mine = like[:, :, mask.clamp(max=len(head.listed) - 1)] & (mask < len(head.listed))
    image, number, anchor = (mine & _valid(gt_boxes, options.classes)[:, :, None]).nonzero().unbind(dim=1)
    target, main = gt_boxes[image, number], likest[image, number, mask[anchor]]
    grid = target.new_tensor((width, height))
    column, row = (head.corner(target[:, :4]) * grid).long().clamp(min=0).minimum(grid.long() - 1).unbind(dim=1)
    rows = ((image * len(head.mask) + anchor) * height + row) * width + column
    return Matches(rows, target[:, :4], head.mapped(target[:, 4].long()), torch.where(main, target[:, 5].long(), -1))


def _background(head: AnchorHead, found: Tensor, boxes: Tensor, matches: Tensor, adversarial: bool) -> Targets:
    """What all rows shall become before targets claim some."""
    options, objectness = head.options, found[:, head.box_entries]
    scores = found[:, head.box_entries + 1 :]
    target, weights = torch.zeros_like(objectness), torch.full_like(objectness, options.obj_normalizer)
    classes, class_weights, fall = torch.zeros_like(scores), torch.zeros_like(scores), torch.zeros_like(objectness)
    ignored = matches > options.ignore_thresh
    if options.objectness_smooth:
        target = torch.where(ignored, head.match_target(matches), target)
    else:
        weights = torch.where(ignored, torch.zeros_like(weights), weights)
    if adversarial:
        scale = torch.where(ignored, torch.zeros_like(weights), boxes[:, 2:].prod(dim=1).sqrt())
        weights = torch.where(ignored, weights, weights * scale)
        probs = scores * objectness[:, None]
        seen = probs > _SURE
        class_weights = torch.where(seen, scale[:, None], class_weights)
        if head.attack_is_whole:
            any_seen = seen.any(dim=1)
            others = any_seen[:, None] & (probs < _SURE)
            class_weights = torch.where(others, scale[:, None], class_weights)
            classes = others.to(classes)
            fall = torch.where(any_seen, scale, fall)
    return Targets(target, weights, classes, class_weights, fall)
