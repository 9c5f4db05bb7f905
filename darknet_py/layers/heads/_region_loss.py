"""The loss of ``[region]`` (``region_layer.c forward_region_layer``), without a loop over boxes.

Here C's deltas do contain the logistic's slope: they are minus the derivative of half the squared error of
objectness and box, and of the classes' cross-entropy behind a softmax. What a later target writes replaces
what an earlier one wrote, box included; in a tree only the groups on its way to the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...boxes import iou
from .._context import StepContext
from .._loss import Loss, squared_loss
from ._assignment import best_overlap

if TYPE_CHECKING:
    from .region import Region

_WARM_UP = 12800  # images during which all boxes are drawn towards their anchor
_CLASS_ONLY = 100000  # a target further out than that has a class and no box


@dataclass
class _Targets:
    """What rows shall become, and what that weighs."""

    objectness: Tensor
    objectness_weights: Tensor
    box: Tensor
    box_weights: Tensor
    classes: Tensor
    class_weights: Tensor


class _Rows(NamedTuple):
    """Outputs of all anchors of all cells, [n, ...], and where they are."""

    place: Tensor  # in the cell
    size: Tensor  # log of the share of the anchor
    objectness: Tensor
    scores: Tensor
    boxes: Tensor
    cell: Tensor  # column and row
    anchor: Tensor  # width and height in cells


def region_loss(head: Region, x: Tensor, output: Tensor, gt_boxes: Tensor, context: StepContext) -> Loss:
    """The loss for a head's input and output, and targets [batch, most, 6] padded with zeros."""
    options, gt_boxes = head.options, gt_boxes[:, : head.options.max]
    if options.coords > 4 or options.background:
        raise ValueError("cannot train a region head with coords above 4 or a background class")
    rows = _rows(head, output)
    with torch.no_grad():
        best, which = best_overlap(rows.boxes.view(len(x), -1, 4), gt_boxes, options.classes)
        targets = _background(head, rows, best, context.seen)
        claims, target = _assigned(head, rows, gt_boxes, output)
        fit = iou(rows.boxes[claims], target[:, :4])
        _claim(head, targets, claims, target, fit, output)
        classes = head.mapped(target[:, 4].long())
        events, scale = claims, torch.full_like(fit, options.class_scale)
        if options.classfix > 0:
            sure = (best > options.thresh).nonzero()[:, 0]
            events = torch.cat((sure, claims))
            classes = torch.cat((gt_boxes.flatten(0, 1)[which[sure], 4].long(), classes))
            share = rows.objectness[sure] if options.classfix == 2 else torch.ones_like(best[sure])
            scale = torch.cat((options.class_scale * share, scale))
        _classify(head, targets, rows.scores, events, classes, scale)
        _class_only(head, targets, rows, gt_boxes)
    goal = torch.cat((rows.place, rows.size), dim=1)
    lacks = (targets.objectness - rows.objectness, targets.box - goal, targets.classes - rows.scores)
    weights = (targets.objectness_weights, targets.box_weights[:, None], targets.class_weights)
    value = (weights[0] * lacks[0].square()).sum() / 2 + (weights[1] * lacks[1].square()).sum() / 2
    value = value + _class_value(head, rows.scores, targets)
    with torch.no_grad():
        slope = rows.objectness * (1 - rows.objectness)
        slopes = torch.cat((rows.place * (1 - rows.place), torch.ones_like(rows.size)), dim=1)
        parts = (weights[1] * lacks[1] * slopes, (weights[0] * lacks[0] * slope)[:, None], weights[2] * lacks[2])
        delta = torch.cat(parts, dim=1)
        batch, _, height, width = output.shape
        delta = delta.view(batch, height, width, options.num, -1).permute(0, 3, 4, 1, 2).reshape(x.shape)
        count = value.new_tensor(len(claims))
    return squared_loss(delta, value, iou=fit.sum() / count.clamp(min=1), count=count)


def _rows(head: Region, output: Tensor) -> _Rows:
    options, (batch, _, height, width) = head.options, output.shape
    if head.pjreddie:
        cells = output.view(batch, options.num, -1, height, width).permute(0, 3, 4, 1, 2)
    else:
        cells = output.reshape(batch, height, width, options.num, -1)
    axes = [torch.arange(n, device=output.device) for n in cells.shape[1:4]]
    row, column, number = torch.meshgrid(*axes, indexing="ij")
    cell = torch.stack((column, row), dim=-1).to(output).flatten(0, 2).repeat(batch, 1)
    anchor = output.new_tensor(head.anchors)[number.flatten()].repeat(batch, 1)
    flat = cells.flatten(0, 3)
    place = flat[:, :2] if head.pjreddie else torch.sigmoid(flat[:, :2])
    grid = output.new_tensor((width, height))
    boxes = torch.cat(((cell + place) / grid, flat[:, 2:4].exp() * anchor / grid), dim=1)
    return _Rows(place, flat[:, 2:4], flat[:, 4], flat[:, 5:], boxes, cell, anchor)


def _background(head: Region, rows: _Rows, best: Tensor, seen: int) -> _Targets:
    """What all rows shall become before targets claim some."""
    options = head.options
    objectness, weights = torch.zeros_like(best), torch.full_like(best, options.noobject_scale)
    if options.classfix == -1:
        objectness = best
    else:
        weights = torch.where(best > options.thresh, 0.0, weights)
    box = torch.zeros_like(rows.boxes)
    box[:, :2] = 0.5
    box_weights = torch.full_like(best, 0.01 if seen < _WARM_UP else 0.0)
    return _Targets(objectness, weights, box, box_weights, torch.zeros_like(rows.scores), torch.zeros_like(rows.scores))


def _assigned(head: Region, rows: _Rows, gt_boxes: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that targets claim, and those targets [n, 6], in order."""
    _, _, height, width = output.shape
    valid = (gt_boxes[..., 0] != 0) & (gt_boxes[..., 0] <= _CLASS_ONLY)
    valid &= (gt_boxes[..., 4] >= 0) & (gt_boxes[..., 4] < head.classes)
    image, number = valid.nonzero().unbind(dim=1)
    target = gt_boxes[image, number]
    grid = target.new_tensor((width, height))
    column, row = (target[:, :2] * grid).long().clamp(min=0).minimum(grid.long() - 1).unbind(dim=1)
    first = ((image * height + row) * width + column) * head.options.num
    near = first[:, None] + torch.arange(head.options.num, device=first.device)
    sizes = rows.anchor[near] / grid if head.options.bias_match else rows.boxes[near][..., 2:]
    shapes = torch.cat((torch.zeros_like(sizes), sizes), dim=-1)
    goal = torch.cat((torch.zeros_like(target[:, :2]), target[:, 2:4]), dim=1)
    best = iou(shapes, goal[:, None]).argmax(dim=1, keepdim=True)
    return near.gather(1, best)[:, 0], target


def _last(keys: Tensor, size: int) -> Tensor:
    """Mask of the last occurrence of every key."""
    order = torch.arange(len(keys), device=keys.device)
    return order.new_full((size,), -1).scatter_reduce_(0, keys, order, "amax")[keys] == order


def _claim(head: Region, targets: _Targets, claims: Tensor, target: Tensor, fit: Tensor, output: Tensor) -> None:
    """Objectness and box of claimed rows."""
    options, chosen = head.options, _last(claims, len(targets.objectness))
    rows, target = claims[chosen], target[chosen]
    _, _, height, width = output.shape
    grid = target.new_tensor((width, height))
    position = rows % (height * width * options.num)
    cell, number = position // options.num, position % options.num
    corner = torch.stack((cell % width, cell // width), dim=1)
    anchor = target.new_tensor(head.anchors)[number]
    targets.box[rows] = torch.cat((target[:, :2] * grid - corner, (target[:, 2:4] * grid / anchor).log()), dim=1)
    targets.box_weights[rows] = options.coord_scale
    targets.objectness[rows] = fit[chosen] if options.rescore else 1.0
    targets.objectness_weights[rows] = options.object_scale


def _classify(head: Region, targets: _Targets, scores: Tensor, rows: Tensor, classes: Tensor, scale: Tensor) -> None:
    """What rows [n] shall say of classes [n]; ``scale``: [n]."""
    if head.tree is None:
        chosen = _last(rows, len(scores))
        rows, classes, scale = rows[chosen], classes[chosen], scale[chosen]
        if head.options.focal_loss:
            p = scores[rows, classes] + 1e-15
            scale = scale * -0.5 * (1 - p) * (2 * p * p.log() + p - 1)
        targets.classes[rows] = F.one_hot(classes, head.classes).to(scores.dtype)
        targets.class_weights[rows] = scale[:, None].expand(-1, head.classes)
        return
    number, nodes = head.tree.ways(classes)
    rows, scale, groups = rows[number], scale[number], head.tree.group[nodes]
    chosen = _last(rows * head.tree.groups + groups, len(scores) * head.tree.groups)
    rows, nodes, scale, groups = rows[chosen], nodes[chosen], scale[chosen], groups[chosen]
    step, member = (head.tree.group == groups[:, None]).nonzero().unbind(dim=1)
    targets.classes[rows[step], member] = 0.0
    targets.class_weights[rows[step], member] = scale[step]
    targets.classes[rows, nodes] = 1.0


def _class_only(head: Region, targets: _Targets, rows: _Rows, gt_boxes: Tensor) -> None:
    """Images whose target is a class without a box: the likeliest row learns it, the others nothing."""
    if head.tree is None:
        return
    far = (gt_boxes[..., :2] > _CLASS_ONLY).all(dim=-1)
    count = len(rows.boxes) // len(gt_boxes)
    for image in far.any(dim=1).nonzero()[:, 0].tolist():
        label = gt_boxes[image, far[image], 4][:1].long()
        part = slice(image * count, (image + 1) * count)
        for weights in (targets.objectness_weights, targets.box_weights, targets.class_weights):
            weights[part] = 0.0
        chances = rows.objectness[part] * head.tree.absolute(rows.scores[part])[:, label[0]]
        row = chances.argmax(dim=0, keepdim=True) + image * count
        _classify(head, targets, rows.scores, row, label, rows.boxes.new_full((1,), head.options.class_scale))


def _class_value(head: Region, scores: Tensor, targets: _Targets) -> Tensor:
    if head.tree or head.options.softmax:
        chosen = targets.classes * targets.class_weights
        return -(chosen * scores.clamp(min=1e-30).log()).sum()
    if head.pjreddie:
        limited = scores.clamp(1e-7, 1 - 1e-7)
        return F.binary_cross_entropy(limited, targets.classes, targets.class_weights, reduction="sum")
    return (targets.class_weights * (targets.classes - scores).square()).sum() / 2
