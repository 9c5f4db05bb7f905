"""Box regression losses: IoU, GIoU, DIoU and CIoU, and Darknet's own gradient of them (``box.c dx_box_iou``)."""

from __future__ import annotations

import enum
from math import pi

import torch
from torch import Tensor

from ...boxes import diou, iou, xywh_to_xyxy


class IoULoss(enum.StrEnum):
    """Kinds of IoU: values of ``iou_thresh_kind=``."""

    MSE = "mse"
    IOU = "iou"
    GIOU = "giou"
    DIOU = "diou"
    CIOU = "ciou"


def iou_by_kind(a: Tensor, b: Tensor, kind: IoULoss, exponent: float = 1.0) -> Tensor:
    """Compute IoU or one of its generalisations (``box_iou_kind``).

    * GIoU = IoU - (C - union) / C, with C the area of the enclosing box (https://arxiv.org/abs/1902.09630).
    * DIoU = IoU - (d**2 / c**2) ** exponent, with d the distance of the centres and c the diagonal of the enclosing
      box (https://arxiv.org/abs/1911.08287, equation 7).
    * CIoU = DIoU - v**2 / (1 - IoU + v), with v = 4 / pi**2 * (atan(w_b / h_b) - atan(w_a / h_a))**2
      (https://arxiv.org/abs/1911.08287, equations 8 to 11).

    Args:
        a: float [..., 4], (cx, cy, w, h); broadcasts with ``b``.
        b: float [..., 4].
        kind: the measure; MSE gives the IoU.
        exponent: of DIoU's distance term: 0.6 where Darknet compares with a threshold, 1 in its loss and the paper.

    Returns:
        float [...], at most 1.
    """
    if kind is IoULoss.GIOU:
        p, q = xywh_to_xyxy(a), xywh_to_xyxy(b)
        sides = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
        intersection = (torch.minimum(p[..., 2:], q[..., 2:]) - torch.maximum(p[..., :2], q[..., :2])).clamp(min=0)
        union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - intersection.prod(dim=-1)
        enclosing = sides.prod(dim=-1)
        return iou(a, b) - (enclosing - union) / enclosing
    if kind is IoULoss.DIOU:
        return diou(a, b, exponent)
    if kind is IoULoss.CIOU:
        angle = torch.atan(b[..., 2] / b[..., 3]) - torch.atan(a[..., 2] / a[..., 3])
        v = 4 / pi**2 * angle.square()
        alpha = v / (1 - iou(a, b) + v + 1e-6)
        return diou(a, b, 1.0) - alpha * v
    return iou(a, b)


def darknet_iou_gradient(boxes: Tensor, targets: Tensor, kind: IoULoss) -> Tensor:
    """Compute Darknet's gradient of the (generalised) IoU, ``dx_box_iou``.

    It differs from the derivative (docs/oddities.md, "gradients of diou and ciou"): the intersection is the product of
    two lengths that may both be negative; the terms of w and h are doubled, except that of DIoU's and CIoU's distance,
    which has the wrong sign in x and y where the box bounds the enclosing one; and CIoU's factor 1 / (w**2 + h**2) is
    left out.

    Args:
        boxes: float [n, 4], predicted boxes (cx, cy, w, h).
        targets: float [n, 4], their targets.
        kind: the measure; MSE gives the gradient of IoU.

    Returns:
        float [n, 4], the gradient with respect to cx, cy, w, h: following it increases the IoU.
    """
    size = boxes[:, 2:].masked_fill(boxes[:, 2:] == 0, 1.0)
    centre, target_centre = boxes[:, :2], targets[:, :2]
    half, target_half = size / 2, targets[:, 2:] / 2
    low, high = centre - half, centre + half
    target_low, target_high = target_centre - target_half, target_centre + target_half
    overlap = torch.minimum(high, target_high) - torch.maximum(low, target_low)
    intersection = overlap.prod(dim=1, keepdim=True)
    area = (high - low).prod(dim=1, keepdim=True)
    union = area + (target_high - target_low).prod(dim=1, keepdim=True) - intersection
    # The low and the high edges, of which the low ones are negated: a larger value is farther out.
    edges, target_edges = torch.stack((-low, high)), torch.stack((-target_low, target_high))
    # Moving an edge changes an area by the length across: hence x and y are swapped.
    across, side = overlap.flip(1), (high - low).flip(1)
    zero = torch.zeros_like(low)
    d_intersection = torch.where(edges < target_edges, torch.stack((-across, across)), zero)
    d_union = torch.stack((-side, side)) - d_intersection
    d_edges = (union * d_intersection - intersection * d_union) / union.square()
    d_edges = torch.where(union > 0, d_edges, zero)
    disjoint = (overlap <= 0).any(dim=1, keepdim=True)
    if kind in (IoULoss.GIOU, IoULoss.DIOU, IoULoss.CIOU):
        enclosing = torch.maximum(high, target_high) - torch.minimum(low, target_low)
        bounds = edges > target_edges  # the box bounds the enclosing box
    if kind is IoULoss.GIOU:
        enclosing_area, enclosing_side = enclosing.prod(dim=1, keepdim=True), enclosing.flip(1)
        d_area = torch.where(bounds, torch.stack((-enclosing_side, enclosing_side)), zero)
        term = (enclosing_area * d_union - union * d_area) / enclosing_area.square()
        d_edges = torch.where(disjoint, term, d_edges + term)
    d_low, d_high = d_edges
    d_centre, d_size = d_low + d_high, d_high - d_low
    if kind in (IoULoss.DIOU, IoULoss.CIOU):
        squared_diagonal = enclosing.square().sum(dim=1, keepdim=True)
        offset = target_centre - centre
        distance = offset.square().sum(dim=1, keepdim=True)
        bounds_low, bounds_high = bounds.to(boxes)
        centre_term = 2 * offset * squared_diagonal - 2 * enclosing * (bounds_high - bounds_low) * distance
        square = squared_diagonal.square()
        size_term = enclosing * (bounds_high + bounds_low) * distance / square
        if kind is IoULoss.CIOU:
            size_term = size_term + _aspect_gradient(size, targets[:, 2:], intersection / union)
        d_centre = d_centre.masked_fill(disjoint, 0.0) + centre_term / square
        d_size = d_size.masked_fill(disjoint, 0.0) + size_term
    return torch.cat((d_centre, d_size), dim=1)


def _aspect_gradient(size: Tensor, target_size: Tensor, iou_values: Tensor) -> Tensor:
    """CIoU's aspect ratio term for w and h, [n, 2]."""
    angle = torch.atan(target_size[:, :1] / target_size[:, 1:]) - torch.atan(size[:, :1] / size[:, 1:])
    v = 4 / pi**2 * angle.square()
    alpha = v / (1 - iou_values + v + 0.000001)
    return alpha * 8 / pi**2 * angle * torch.cat((size[:, 1:], -size[:, :1]), dim=1)
