"""Operations on boxes: conversion, IoU, non-maximum suppression, letterbox arithmetic.

A box is four numbers in the last dimension, ``(cx, cy, w, h)``: centre and size. NMS follows ``box.c do_nms_sort``
and ``diounms_sort``: class by class and in descending order of score, each box that is kept suppresses all later
boxes that overlap it by more than the threshold. Soft-NMS and weighted boxes fusion are further kinds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ._nms import greedy_nms
from ._soft_nms import fuse_boxes, soft_nms


class RawDetections(NamedTuple):
    """Boxes of one image as a head decodes them, before or after NMS.

    Attributes:
        boxes: float [n, 4], (cx, cy, w, h).
        objectness: float [n], 0..1.
        probs: float [n, classes], 0..1; 0 where the box is not of the class.
    """

    boxes: Tensor
    objectness: Tensor
    probs: Tensor


class NMSKind(enum.StrEnum):
    """Values of ``nms_kind=``; the last three are not Darknet's.

    ``SOFT_LINEAR`` and ``SOFT_GAUSSIAN`` lower the scores of overlapping boxes instead of suppressing them
    (https://arxiv.org/abs/1704.04503): by the factor 1 - IoU where the IoU is above the threshold, or by exp(-IoU^2 /
    sigma). ``WBF`` fuses overlapping boxes (https://arxiv.org/abs/1910.13302).
    """

    DEFAULT = "default"
    GREEDYNMS = "greedynms"
    DIOUNMS = "diounms"
    CORNERSNMS = "cornersnms"
    SOFT_LINEAR = "soft-linear"
    SOFT_GAUSSIAN = "soft-gaussian"
    WBF = "wbf"

    @property
    def is_darknets(self) -> bool:
        """Whether Darknet has it: boxes are suppressed, and no score or box changes."""
        return self not in (NMSKind.SOFT_LINEAR, NMSKind.SOFT_GAUSSIAN, NMSKind.WBF)


@dataclass(frozen=True)
class NMSOptions:
    """The kind of NMS and its parameters.

    Attributes:
        kind: the kind.
        beta: exponent of the distance term of DIOUNMS.
        sigma: width of the factor of SOFT_GAUSSIAN.
    """

    kind: NMSKind = NMSKind.DEFAULT
    beta: float = 0.6
    sigma: float = 0.5

    def overlap(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the overlap of boxes, float [...]; ``a`` and ``b`` broadcast to [..., 4].

        Darknet's ``greedynms`` is not plain IoU: it subtracts the distance term of ``box_diou`` with the fixed
        exponent 0.6. ``cornersnms`` merges no boxes in Darknet's code and is plain IoU, as are the kinds that are not
        Darknet's.
        """
        if self.kind is NMSKind.GREEDYNMS:
            return diou(a, b, 0.6)
        if self.kind is NMSKind.DIOUNMS:
            return diou(a, b, self.beta)
        return iou(a, b)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert boxes, float [..., 4], from (cx, cy, w, h) to (x1, y1, x2, y2)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Convert boxes, float [..., 4], from (x1, y1, x2, y2) to (cx, cy, w, h)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def decode_grid(xy: Tensor, scale: Tensor, anchors: Sequence[tuple[float, float]], size: tuple[int, int]) -> Tensor:
    """Decode the boxes of all anchors of all cells of a map, as operations that can be exported.

    ``cx = (column + x) / width``, ``w = scale_w * anchor_w / size_w``, likewise cy and h.

    Args:
        xy: float [batch, height, width, anchors, 2], centres in their cells, 0..1.
        scale: float [batch, height, width, anchors, 2], sizes relative to the anchor.
        anchors: (width, height) of the anchors.
        size: width and height of the image in the unit of the anchors.

    Returns:
        float [batch, height, width, anchors, 4], (cx, cy, w, h) relative to the image.
    """
    height, width = xy.shape[1:3]
    column, row = torch.arange(width).to(xy).view(1, 1, -1, 1), torch.arange(height).to(xy).view(1, -1, 1, 1)
    anchor = xy.new_tensor(anchors)
    x, y = (column + xy[..., 0]) / width, (row + xy[..., 1]) / height
    w, h = scale[..., 0] * anchor[:, 0] / size[0], scale[..., 1] * anchor[:, 1] / size[1]
    return torch.stack((x, y, w, h), dim=-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union (``box_iou``).

    Args:
        a: float [..., 4], (cx, cy, w, h); broadcasts with ``b``.
        b: float [..., 4].

    Returns:
        float [...], 0..1; 0 for boxes that do not overlap, and for a union of 0.
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(dim=-1), b.unbind(dim=-1)
    width = torch.minimum(ax + aw / 2, bx + bw / 2) - torch.maximum(ax - aw / 2, bx - bw / 2)
    height = torch.minimum(ay + ah / 2, by + bh / 2) - torch.maximum(ay - ah / 2, by - bh / 2)
    intersection = width.clamp(min=0) * height.clamp(min=0)
    union = aw * ah + bw * bh - intersection
    return torch.where((intersection == 0) | (union == 0), torch.zeros_like(intersection), intersection / union)


def diou(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """Compute ``IoU - (d**2 / c**2) ** beta`` (``box_diou``, ``box_diounms``).

    d is the distance of the centres and c the diagonal of the enclosing box (https://arxiv.org/abs/1911.08287,
    equation 7).

    Args:
        a: float [..., 4], (cx, cy, w, h); broadcasts with ``b``.
        b: float [..., 4].
        beta: exponent of the distance term.

    Returns:
        float [...], -1..1.
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(dim=-1), b.unbind(dim=-1)
    width = torch.maximum(ax + aw / 2, bx + bw / 2) - torch.minimum(ax - aw / 2, bx - bw / 2)
    height = torch.maximum(ay + ah / 2, by + bh / 2) - torch.minimum(ay - ah / 2, by - bh / 2)
    diagonal = width.square() + height.square()
    distance = (ax - bx).square() + (ay - by).square()
    penalty = torch.where(diagonal == 0, torch.zeros_like(diagonal), (distance / diagonal) ** beta)
    return iou(a, b) - penalty


def batched_nms(
    detections: RawDetections,
    threshold: float,
    options: NMSOptions,
    *,
    min_score: float = 0.0,
    agnostic: bool = False,
) -> RawDetections:
    """Apply non-maximum suppression to each class independently.

    Args:
        detections: boxes of one image.
        threshold: overlap above which the box of the lower probability is suppressed, lowered or fused.
        options: the kind of NMS.
        min_score: probabilities that soft-NMS lowers to this or less become 0.
        agnostic: compare boxes of all classes; each box must have one class.

    Returns:
        The same boxes in the same order, with the probabilities of suppressed classes set to 0, or by soft-NMS lowered.
        With ``WBF`` other boxes instead: a fused one for each object, with one class, by descending probability.
    """
    if agnostic:
        rows, cls = detections.probs.nonzero().unbind(dim=1)
    else:
        cls, rows = (detections.probs > 0).t().nonzero().unbind(dim=1)
    scores = detections.probs[rows, cls]
    groups = torch.zeros_like(cls) if agnostic else cls
    probs = detections.probs.clone()
    if options.kind is NMSKind.WBF:
        boxes, fused, best = fuse_boxes(detections.boxes[rows], groups, scores, threshold, options.overlap)
        order = fused.argsort(descending=True, stable=True)
        boxes, fused, best = boxes[order], fused[order], best[order]
        probs = torch.zeros_like(probs[rows[best]]).scatter(1, cls[best][:, None], fused[:, None])
        return RawDetections(boxes, detections.objectness[rows[best]], probs)
    if not options.kind.is_darknets:
        probs[rows, cls] = soft_nms(
            detections.boxes[rows], groups, scores, options.overlap, _decay(options, threshold), min_score
        )
        return detections._replace(probs=probs)
    order = scores.argsort(descending=True, stable=True)
    cls, rows, groups = cls[order], rows[order], groups[order]
    suppressed = ~greedy_nms(detections.boxes[rows], groups, threshold, options.overlap)
    probs[rows[suppressed], cls[suppressed]] = 0
    return detections._replace(probs=probs)


def _decay(options: NMSOptions, threshold: float) -> Callable[[Tensor], Tensor]:
    """The factor of soft-NMS for an IoU."""
    if options.kind is NMSKind.SOFT_GAUSSIAN:
        return lambda overlap: (-overlap.square() / options.sigma).exp()
    return lambda overlap: torch.where(overlap > threshold, 1 - overlap, 1)


def nms_keep(boxes: Tensor, threshold: float, options: NMSOptions) -> Tensor:
    """Apply greedy non-maximum suppression to boxes of one class.

    Args:
        boxes: float [n, 4], (cx, cy, w, h), highest score first.
        threshold: overlap above which the later of two boxes is suppressed.
        options: how overlap is measured.

    Returns:
        bool [n], whether each box is kept.
    """
    classes = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return greedy_nms(boxes, classes, threshold, options.overlap)


def letterbox_size(image: tuple[int, int], net: tuple[int, int]) -> tuple[int, int]:
    """Return the size of an image resized to fit into the network's input (``letterbox_image``).

    Args:
        image: width and height of the image in pixels.
        net: width and height of the network's input in pixels.

    Returns:
        Width and height in pixels; one is the input's, the other is rounded down.
    """
    (width, height), (net_width, net_height) = image, net
    if net_width / width < net_height / height:
        return net_width, height * net_width // width
    return width * net_height // height, net_height


def undo_letterbox(boxes: Tensor, image: tuple[int, int], net: tuple[int, int]) -> Tensor:
    """Convert boxes from a letterboxed input to the image (``correct_yolo_boxes``).

    As in Darknet, the padding on each side is taken as exactly half of it, although the image is placed at a whole
    pixel: an error of up to half a pixel of the input.

    Args:
        boxes: float [..., 4], (cx, cy, w, h) relative to the network's input.
        image: width and height of the image in pixels.
        net: width and height of the network's input in pixels.

    Returns:
        float [..., 4], (cx, cy, w, h) relative to the image.
    """
    inner = boxes.new_tensor(letterbox_size(image, net))
    outer = boxes.new_tensor(net)
    centre = (boxes[..., :2] - (outer - inner) / 2 / outer) / (inner / outer)
    return torch.cat((centre, boxes[..., 2:] * (outer / inner)), dim=-1)
