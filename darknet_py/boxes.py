"""Boxes as pure functions of tensors: forms, overlap, suppression, letterbox arithmetic.

A box is four numbers in the last dimension, ``x y w h``: centre and size. Suppression follows
``box.c do_nms_sort`` and ``diounms_sort``: class by class, strongest first, a kept box removes every
weaker one that overlaps it by more than the threshold.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 1024  # boxes whose overlap with all others is held in memory at once


class RawDetections(NamedTuple):
    """Boxes of one image before or after suppression.

    ``boxes``: [n, 4], ``objectness``: [n], ``probs``: [n, classes], where 0 means "not this class".
    """

    boxes: Tensor
    objectness: Tensor
    probs: Tensor


class NMSKind(enum.StrEnum):
    """What an ``nms_kind=`` key may say."""

    DEFAULT = "default"
    GREEDYNMS = "greedynms"
    DIOUNMS = "diounms"
    CORNERSNMS = "cornersnms"


@dataclass(frozen=True)
class NMSOptions:
    """Which overlap decides between two boxes, and diounms' exponent."""

    kind: NMSKind = NMSKind.DEFAULT
    beta: float = 0.6

    def overlap(self, a: Tensor, b: Tensor) -> Tensor:
        """Overlap as this kind measures it; ``a`` and ``b`` broadcast to [..., 4].

        C's ``greedynms`` is no plain IoU: it subtracts the centre distance with the fixed exponent
        0.6 that ``box_diou`` has. ``cornersnms`` merges nothing in the C code and is plain IoU.
        """
        if self.kind is NMSKind.GREEDYNMS:
            return diou(a, b, 0.6)
        if self.kind is NMSKind.DIOUNMS:
            return diou(a, b, self.beta)
        return iou(a, b)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size to left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Left, top, right, bottom to centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def decode_grid(xy: Tensor, factor: Tensor, anchors: Sequence[tuple[float, float]], size: tuple[int, int]) -> Tensor:
    """Boxes of all cells of a map, relative to the input: [batch, rows, columns, anchors, 4].

    ``xy``: [batch, rows, columns, anchors, 2], the centres within their cells. ``factor``: likewise, how
    many times its anchor a box is. ``size``: what the anchors are relative to, width and height.
    """
    height, width = xy.shape[1:3]
    column, row = torch.arange(width).to(xy).view(1, 1, -1, 1), torch.arange(height).to(xy).view(1, -1, 1, 1)
    measure = xy.new_tensor(anchors)
    x, y = (column + xy[..., 0]) / width, (row + xy[..., 1]) / height
    w, h = factor[..., 0] * measure[:, 0] / size[0], factor[..., 1] * measure[:, 1] / size[1]
    return torch.stack((x, y, w, h), dim=-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes that broadcast (``box_iou``: 0 where nothing is shared)."""
    p, q = xywh_to_xyxy(a), xywh_to_xyxy(b)
    sides = (torch.minimum(p[..., 2:], q[..., 2:]) - torch.maximum(p[..., :2], q[..., :2])).clamp(min=0)
    shared = sides.prod(dim=-1)
    union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - shared
    return torch.where((shared == 0) | (union == 0), torch.zeros_like(shared), shared / union)


def diou(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """IoU less (squared centre distance / squared diagonal of the enclosing box) ** ``beta``.

    ``box_diou`` and ``box_diounms``, after https://arxiv.org/abs/1911.08287, equation 7.
    """
    p, q = xywh_to_xyxy(a), xywh_to_xyxy(b)
    enclosing = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
    diagonal = enclosing.square().sum(dim=-1)
    distance = (a[..., :2] - b[..., :2]).square().sum(dim=-1)
    penalty = torch.where(diagonal == 0, torch.zeros_like(diagonal), (distance / diagonal) ** beta)
    return iou(a, b) - penalty


def batched_nms(found: RawDetections, threshold: float, how: NMSOptions) -> RawDetections:
    """Set to 0 the probabilities that a stronger overlapping box of the same class takes away."""
    cls, rows = (found.probs > 0).t().nonzero().unbind(dim=1)
    order = found.probs[rows, cls].argsort(descending=True, stable=True)
    order = order[cls[order].argsort(stable=True)]
    cls, rows = cls[order], rows[order]
    counts = cls.bincount(minlength=found.probs.shape[1])
    starts, keep = counts.cumsum(dim=0) - counts, torch.ones_like(cls, dtype=torch.bool)
    for group, most in _groups(counts):
        if most > _BLOCK:
            mine = slice(int(starts[group[0]]), int(starts[group[0]]) + most)
            keep[mine] = nms_keep(found.boxes[rows[mine]], threshold, how)
            continue
        # A class with fewer boxes borrows those behind its own: coming last, they take none away.
        place = torch.arange(most, device=cls.device)
        places, own = starts[group][:, None] + place, place < counts[group][:, None]
        boxes = found.boxes[rows[places.clamp(max=len(rows) - 1)]]
        keep[places[own]] = _greedy(boxes, torch.ones_like(own), threshold, how)[own]
    probs = found.probs.clone()
    probs[rows[~keep], cls[~keep]] = 0
    return found._replace(probs=probs)


def _groups(counts: Tensor) -> Iterator[tuple[list[int], int]]:
    """Classes that are worked on together, as many as fit into memory, and how many boxes the largest has."""
    order, sizes = counts.argsort(descending=True).tolist(), counts.tolist()
    while order and sizes[order[0]] > 1:
        most = sizes[order[0]]
        alike = sum(2 * sizes[number] > most for number in order)  # the others would be mostly filled up
        together = max(1, min(alike, _BLOCK**2 // most**2))
        yield order[:together], most
        order = order[together:]


def nms_keep(boxes: Tensor, threshold: float, how: NMSOptions) -> Tensor:
    """Which of ``boxes`` [n, 4], strongest first, greedy suppression keeps: [n] of bool."""
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), _BLOCK):
        block = boxes[start : start + _BLOCK]
        kept = boxes[:start][keep[:start]]
        free = ~(how.overlap(kept[:, None], block[None]) > threshold).any(dim=0)
        keep[start : start + _BLOCK] = _greedy(block, free, threshold, how)
    return keep


def _greedy(boxes: Tensor, free: Tensor, threshold: float, how: NMSOptions) -> Tensor:
    """Which of ``boxes`` [..., n, 4] stay, of those that are ``free`` [..., n] to: [..., n] of bool."""
    # Greedy order without a loop over boxes: a box goes when a stronger one that stays covers it;
    # repeating that settles after as many rounds as the longest chain of such decisions.
    covers = (how.overlap(boxes[..., :, None, :], boxes[..., None, :, :]) > threshold).triu(diagonal=1)
    alive = free
    while True:
        now = free & ~(covers & alive[..., None]).any(dim=-2)
        if torch.equal(now, alive):
            return alive
        alive = now


def letterbox_size(image: tuple[int, int], net: tuple[int, int]) -> tuple[int, int]:
    """Width and height of an image scaled to fit into the network's input (``letterbox_image``)."""
    (width, height), (net_width, net_height) = image, net
    if net_width / width < net_height / height:
        return net_width, height * net_width // width
    return width * net_height // height, net_height


def undo_letterbox(boxes: Tensor, image: tuple[int, int], net: tuple[int, int]) -> Tensor:
    """Boxes relative to a letterboxed input to boxes relative to the image (``correct_yolo_boxes``).

    The margin that is taken off is the exact half, as in C, though the image was placed at a whole
    pixel: up to half a pixel of the input is lost.
    """
    inner = boxes.new_tensor(letterbox_size(image, net))
    outer = boxes.new_tensor(net)
    centre = (boxes[..., :2] - (outer - inner) / 2 / outer) / (inner / outer)
    return torch.cat((centre, boxes[..., 2:] * (outer / inner)), dim=-1)
