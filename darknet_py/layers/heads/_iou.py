"""Overlap as a loss: the true measures, and C's hand-made gradient of them (``box.c dx_box_iou``)."""

from __future__ import annotations

import enum
from math import pi

import torch
from torch import Tensor

from ...boxes import diou, iou, xywh_to_xyxy


class IoULoss(enum.StrEnum):
    """What ``iou_loss=`` may say."""

    MSE = "mse"
    IOU = "iou"
    GIOU = "giou"
    DIOU = "diou"
    CIOU = "ciou"


def overlap(a: Tensor, b: Tensor, kind: IoULoss, exponent: float = 1.0) -> Tensor:
    """How well boxes [..., 4] agree, 1 at best (``box_iou_kind``); for mse it is the plain IoU.

    ``exponent``: of diou's distance; C compares with 0.6, the paper and its loss have 1.
    """
    if kind is IoULoss.GIOU:
        p, q = xywh_to_xyxy(a), xywh_to_xyxy(b)
        sides = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
        shared = (torch.minimum(p[..., 2:], q[..., 2:]) - torch.maximum(p[..., :2], q[..., :2])).clamp(min=0)
        union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - shared.prod(dim=-1)
        around = sides.prod(dim=-1)
        return iou(a, b) - (around - union) / around
    if kind is IoULoss.DIOU:
        return diou(a, b, exponent)
    if kind is IoULoss.CIOU:
        turn = torch.atan(b[..., 2] / b[..., 3]) - torch.atan(a[..., 2] / a[..., 3])
        aspect = 4 / pi**2 * turn.square()
        share = aspect / (1 - iou(a, b) + aspect + 1e-6)
        return diou(a, b, 1.0) - share * aspect
    return iou(a, b)


def slope(box: Tensor, target: Tensor, kind: IoULoss) -> Tensor:
    """Where C moves boxes [n, 4] to agree better with ``target``: [n, 4] for x, y, w, h.

    Not the derivative: the shared area is the product of two lengths that may both be negative, w and h
    get twice their share, the distance term of diou and ciou pulls x and y with the wrong sign where the
    box bounds the enclosing one, and ciou's 1 / (w^2 + h^2) is left out (docs/oddities.md).
    """
    size = torch.where(box[:, 2:] == 0, torch.ones_like(box[:, 2:]), box[:, 2:])
    centre, goal = box[:, :2], target[:, :2]
    low, high = centre - size / 2, centre + size / 2
    least, most = goal - target[:, 2:] / 2, goal + target[:, 2:] / 2
    lengths = torch.minimum(high, most) - torch.maximum(low, least)
    shared = lengths.prod(dim=1, keepdim=True)
    union = (high - low).prod(dim=1, keepdim=True) + (most - least).prod(dim=1, keepdim=True) - shared
    # An edge moves an area by the length across it: hence the flips of x and y.
    across, side = lengths.flip(1), (high - low).flip(1)
    zero = torch.zeros_like(low)
    d_shared = (torch.where(low > least, -across, zero), torch.where(high < most, across, zero))
    d_union = (-side - d_shared[0], side - d_shared[1])
    edges = [
        torch.where(union > 0, (union * ds - shared * du) / union.square(), zero)
        for ds, du in zip(d_shared, d_union, strict=True)
    ]
    apart = (lengths <= 0).any(dim=1, keepdim=True)
    around = torch.maximum(high, most) - torch.minimum(low, least)
    first, last = low < least, high > most  # the box bounds what encloses both
    if kind is IoULoss.GIOU:
        area, beside = around.prod(dim=1, keepdim=True), around.flip(1)
        d_area = (torch.where(first, -beside, zero), torch.where(last, beside, zero))
        for number in range(2):
            term = (area * d_union[number] - union * d_area[number]) / area.square()
            edges[number] = torch.where(apart, term, edges[number] + term)
    moved, grown = edges[0] + edges[1], edges[1] - edges[0]
    if kind in (IoULoss.DIOU, IoULoss.CIOU):
        diagonal = around.square().sum(dim=1, keepdim=True)
        distance = (centre - goal).square().sum(dim=1, keepdim=True)
        pull = last.to(box) - first.to(box)
        to_goal = 2 * (goal - centre) * diagonal - 2 * around * pull * distance
        widened = around * (last.to(box) + first.to(box)) * distance / diagonal.square()
        if kind is IoULoss.CIOU:
            widened = widened + _aspect(size, target[:, 2:], shared / union)
        moved = torch.where(apart, zero, moved) + to_goal / diagonal.square()
        grown = torch.where(apart, zero, grown) + widened
    return torch.cat((moved, grown), dim=1)


def _aspect(size: Tensor, goal: Tensor, agreement: Tensor) -> Tensor:
    """Ciou's term for w and h."""
    turn = torch.atan(goal[:, :1] / goal[:, 1:]) - torch.atan(size[:, :1] / size[:, 1:])
    aspect = 4 / pi**2 * turn.square()
    share = aspect / (1 - agreement + aspect + 0.000001)
    return share * 8 / pi**2 * turn * torch.cat((size[:, 1:], -size[:, :1]), dim=1)
