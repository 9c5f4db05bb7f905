"""Convert the outputs of the detection heads to boxes: decode, merge the heads, undo the letterbox, apply NMS.

``Detector``, evaluation, ``compare``, the check of exported files and the OpenCV-style API all use these functions.
The order of the steps is C's (``get_network_boxes``, ``correct_yolo_boxes``, ``do_nms_sort``): NMS is applied to
boxes relative to the image, because the kinds of NMS that measure distances between centres give other results
for boxes relative to a letterboxed input.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .boxes import NMSKind, NMSOptions, RawDetections, batched_nms, undo_letterbox
from .cfg import Dialect
from .errors import DataError
from .layers import DecodeOptions, Head, SelectedRows, copy_to_host
from .messages import get_logger
from .network import Network

_log = get_logger(__name__)


class Heads(enum.StrEnum):
    """What a program returns for the detection heads of a network.

    ``raw``: what ``network(x)`` returns.
    ``boxes``: all boxes of all heads, float32 [batch, n, 4] (cx, cy, w, h) relative to the input, and ``scores``,
    float32 [batch, n, classes] in 0..1.
    ``nms``: ``detections``, float32 [n, 7], one row per box and class after NMS: image, class, score, cx, cy, w, h.
    """

    RAW = "raw"
    BOXES = "boxes"
    NMS = "nms"


@dataclass(frozen=True)
class Selection:
    """Which classes are reported, and how they compete in NMS.

    Attributes:
        classes: numbers of the classes to report; None: all.
        thresholds: for some classes, the value that their probability must be above.
        agnostic: a box counts for its most probable class only, and NMS compares boxes of different classes.
    """

    classes: frozenset[int] | None = None
    thresholds: Mapping[int, float] = field(default_factory=dict)
    agnostic: bool = False

    def apply(self, detections: RawDetections) -> RawDetections:
        """Set the probabilities that are not reported to 0, before NMS."""
        probs = detections.probs
        if self.classes is not None or self.thresholds:
            limits = [
                self.thresholds.get(number, 0.0) if self.classes is None or number in self.classes else 1.0
                for number in range(probs.shape[1])
            ]
            probs = torch.where(probs > probs.new_tensor(limits), probs, 0)
        if self.agnostic and len(probs):
            best = probs.argmax(dim=1, keepdim=True)
            probs = torch.zeros_like(probs).scatter(1, best, probs.gather(1, best))
        return detections._replace(probs=probs)


def require_heads(network: Network) -> list[Head]:
    """Return the detection heads of a network. Raises DataError where there is none, or their classes differ.

    C writes the scores of all heads into rows that have the classes of the last one.
    """
    heads = network.heads
    if not heads:
        raise DataError("the network has no detection head: expected a detector")
    counts = list(dict.fromkeys(head.classes for head in heads))
    if len(counts) > 1:
        listed = " and ".join(map(str, counts))
        raise DataError(f"{network.config.path}: heads of {listed} classes: expected the same classes= in all of them")
    return heads


def uses_letterbox(network: Network, letterbox: bool | None = None) -> bool:
    """Whether images are letterboxed: ``letterbox`` if given, else C's rule for the network.

    AlexeyAB's code letterboxes if ``[net] letter_box=1`` and stretches otherwise; pjreddie's always letterboxes.
    """
    if letterbox is not None:
        return letterbox
    return network.options.letter_box or network.dialect is Dialect.PJREDDIE


def nms_options(network: Network, kind: NMSKind | str | None = None) -> NMSOptions:
    """Return the NMS options of a network: those of its last head, as in C, with another ``kind`` if one is given."""
    return with_kind(require_heads(network)[-1].nms_options, kind)


def with_kind(options: NMSOptions, kind: NMSKind | str | None) -> NMSOptions:
    """Return NMS options with another kind; None: with their own. Raises DataError for an unknown kind."""
    if kind is None:
        return options
    try:
        return replace(options, kind=NMSKind(kind))
    except ValueError:
        raise DataError(f"nms_kind: expected one of {', '.join(NMSKind)}, got {kind!r}") from None


def decode(
    network: Network,
    outputs: Sequence[Tensor],
    size: tuple[int, int],
    options: DecodeOptions,
    form: Heads = Heads.RAW,
) -> list[RawDetections]:
    """Decode the outputs of all heads and merge them, without NMS (``get_network_boxes``).

    Args:
        network: a network with heads.
        outputs: what ``network(x)`` returned, one tensor [batch, channels, height, width] for each head; or what
            ``form`` says.
        size: width and height of the network's input in pixels.
        options: which boxes to return.
        form: what the outputs are; for ``Heads.NMS`` one tensor for each image, [n, 6]: class, score, cx, cy, w, h.

    Returns:
        One ``RawDetections`` for each image, with boxes (cx, cy, w, h) relative to the network's input; on the CPU.
    """
    if form is Heads.NMS:
        return [_from_rows(rows.float().cpu(), options.threshold, network) for rows in outputs]
    if form is Heads.BOXES:
        pairs = zip(*(y.float().cpu() for y in outputs), strict=True)
        return [_above(from_scores(boxes, scores, options.threshold)) for boxes, scores in pairs]
    heads = network.heads
    floats = [y.float() for y in outputs]
    is_on_cpu = all(y.device.type == "cpu" for y in outputs)
    maps: Sequence[Tensor | SelectedRows] = floats if is_on_cpu else copy_to_host(heads, floats, options.threshold)
    by_head = [head.decode(y, size, options) for head, y in zip(heads, maps, strict=True)]
    by_image = zip(*by_head, strict=True)
    return [RawDetections(*map(torch.cat, zip(*of_heads, strict=True))) for of_heads in by_image]


def _above(detections: RawDetections) -> RawDetections:
    """Return the boxes that have a class above the threshold."""
    return RawDetections(*(column[detections.objectness > 0] for column in detections))


def _from_rows(rows: Tensor, threshold: float, network: Network) -> RawDetections:
    """Convert the rows of an image, see ``decode``, to detections of one class each."""
    scores = rows.new_zeros(len(rows), require_heads(network)[-1].classes)
    scores.scatter_(1, rows[:, :1].long(), rows[:, 1:2])
    return _above(from_scores(rows[:, 2:], scores, threshold))


def concatenate_outputs(batches: Sequence[Sequence[Tensor]], form: Heads = Heads.RAW) -> list[Tensor]:
    """Return the outputs of several batches, see ``decode``, as if they were of one."""
    if len(batches) == 1:
        return list(batches[0])
    if form is Heads.NMS:
        return [rows for of_images in batches for rows in of_images]
    return [torch.cat(of_head) for of_head in zip(*batches, strict=True)]


def decode_dense(
    network: Network, outputs: Sequence[Tensor], size: tuple[int, int], threshold: float | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Decode every box of every head as a static graph, without a score threshold.

    Args:
        network: a network with heads.
        outputs: what ``network(x)`` returned, one tensor [batch, channels, height, width] for each head.
        size: width and height of the network's input in pixels.
        threshold: score threshold for heads whose probabilities depend on it (a class tree).

    Returns:
        For each head: boxes [batch, n, 4], (cx, cy, w, h) relative to the network's input, and class
        probabilities [batch, n, classes] in 0..1.
    """
    return [head.decode_all(y, size, threshold) for head, y in zip(network.heads, outputs, strict=True)]


def from_scores(boxes: Tensor, scores: Tensor, threshold: float) -> RawDetections:
    """Convert dense boxes and class probabilities of one image to detections.

    Args:
        boxes: float [n, 4], (cx, cy, w, h).
        scores: float [n, classes], 0..1.
        threshold: probabilities that are not above it are set to 0.

    Returns:
        All n boxes; their objectness is the largest probability that remains.
    """
    probs = torch.where(scores > threshold, scores, 0)
    return RawDetections(boxes, probs.amax(dim=1), probs)


def apply_nms(
    detections: RawDetections,
    threshold: float,
    options: NMSOptions,
    *,
    min_score: float = 0.0,
    agnostic: bool = False,
) -> RawDetections:
    """Apply class-wise NMS, see ``batched_nms``; an IoU ``threshold`` of 0 disables it, as in C."""
    if not threshold:
        return detections
    return batched_nms(detections, threshold, options, min_score=min_score, agnostic=agnostic)


def postprocess_outputs(
    network: Network,
    outputs: Sequence[Tensor],
    size: tuple[int, int],
    options: DecodeOptions,
    *,
    nms: float,
    nms_kind: NMSKind | str | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
    letterbox: bool = False,
    nms_in_pixels: bool = False,
    darknet_order: bool = False,
    selection: Selection | None = None,
    form: Heads = Heads.RAW,
) -> list[RawDetections]:
    """Decode the outputs of all heads, merge them, undo the letterbox and apply class-wise NMS.

    Args:
        network: a network with heads.
        outputs: what ``network(x)`` returned, one tensor [batch, channels, height, width] for each head; or what
            ``form`` says.
        size: width and height of the network's input in pixels.
        options: which boxes to return.
        nms: IoU threshold of NMS; 0 disables it.
        nms_kind: kind of NMS; None: that of the last head.
        image_sizes: width and height of each image in pixels; None: boxes stay relative to the network's input.
        letterbox: whether the images were letterboxed.
        nms_in_pixels: apply NMS to boxes in pixels of the image (``detector valid``) instead of relative ones.
        darknet_order: return the boxes in the order of C's NMS, which sorts them by each class in turn.
        selection: which classes are reported; None: all.
        form: what the outputs are, see ``decode``; NMS is not applied again to those of ``Heads.NMS``.

    Returns:
        One ``RawDetections`` for each image, with boxes (cx, cy, w, h) relative to the image. Boxes with NaN or Inf, in
        pixels too, are left out, and their number is logged.
    """
    results = []
    dropped = 0
    options_of_nms = nms_options(network, nms_kind)
    nms = 0.0 if form is Heads.NMS else nms
    for index, detections in enumerate(decode(network, outputs, size, options, form)):
        image_size = size if image_sizes is None else image_sizes[index]
        if selection is not None:
            detections = selection.apply(detections)
        if letterbox and image_sizes is not None:
            detections = detections._replace(boxes=undo_letterbox(detections.boxes, image_size, size))
        finite = torch.isfinite(detections.boxes * max(image_size)).all(dim=1)
        if not bool(finite.all()):
            dropped += int((~finite).sum())
            detections = RawDetections(*(column[finite] for column in detections))
        scale = detections.boxes.new_tensor(image_size if nms_in_pixels else (1, 1)).repeat(2)
        scaled = detections._replace(boxes=detections.boxes * scale)
        agnostic = selection is not None and selection.agnostic
        kept = apply_nms(scaled, nms, options_of_nms, min_score=options.threshold, agnostic=agnostic)
        fused = options_of_nms.kind is NMSKind.WBF
        kept = kept._replace(boxes=kept.boxes / scale if fused else detections.boxes)
        if selection is not None and not options_of_nms.kind.is_darknets:
            kept = selection.apply(kept)  # scores are lower now
        if darknet_order:
            order = _class_sorted(kept.probs if fused else detections.probs)
            kept = RawDetections(*(column[order] for column in kept))
        results.append(kept)
    if dropped:
        _log.warning("boxes with NaN or Inf in their position or size, which are dropped: %d", dropped)
    return results


def to_rows(detections: RawDetections) -> Tensor:
    """Return one row for each box and class of nonzero probability, float [n, 6]: class, confidence, cx, cy, w, h."""
    box, cls = (detections.probs > 0).nonzero(as_tuple=True)
    return torch.cat((cls[:, None].float(), detections.probs[box, cls][:, None], detections.boxes[box]), dim=1)


def _class_sorted(probs: Tensor) -> Tensor:
    """Return the order, int64 [n], of a stable descending sort by class 0, then class 1, ... (``do_nms_sort``)."""
    table = probs.cpu().numpy()
    used = table[:, table.any(axis=0)]
    order = np.lexsort(-used.T) if used.size else np.arange(len(table))
    return torch.from_numpy(order).to(probs.device)
