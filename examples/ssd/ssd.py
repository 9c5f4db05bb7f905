"""SSD (https://arxiv.org/abs/1512.02325) as a plug-in: ``[multibox]``, ``[scaled_l2norm]`` and ``[subtract_mean]``.

    darknet-py info ssd300.cfg --plugin ssd.py

``[multibox]`` reads one map for each scale. A cell of a map predicts ``boxes=`` default boxes, and its channels are
ordered by default box: 4 offsets, the score of the background, and those of the classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darknet_py import Layer, Shape, section
from darknet_py.boxes import RawDetections, iou
from darknet_py.cfg.schema import option
from darknet_py.layers import DecodeOptions, Head, Loss, SelectedRows, StepContext, differentiable_loss, resolve_indices

_BOX = 4  # offsets of a box, or the box itself
_VARIANCES = (0.1, 0.1, 0.2, 0.2)  # of the offsets, which are divided by them in training


@section("subtract_mean")
class SubtractMean(Layer):
    """Levels 0..255 minus the mean of the images that VGG-16 was trained on, from an image in 0..1."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``[subtract_mean]``."""

        mean: tuple[float, ...] = option(
            (123.0, 117.0, 104.0), "mean level of each channel, 0..255; one for all", min=0, max=255
        )

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        if len(options.mean) not in (1, x.channels):
            raise ValueError(f"mean: expected {x.channels} values, one per channel, got {len(options.mean)}")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``255 x - mean`` for ``x`` [batch, channels, height, width]."""
        return 255 * x - constant(self.options.mean, x).view(-1, 1, 1)


@section("scaled_l2norm")
class ScaledL2Norm(Layer):
    """Each cell's channels divided by their L2 norm, times a learned scale per channel (section 3.1 of the paper)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``[scaled_l2norm]``."""

        init: float = option(20.0, "initial scale", min=-1e6, max=1e6)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.scales = nn.Parameter(torch.empty(x.channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` [batch, channels, height, width]; same shape."""
        return F.normalize(x, dim=1, eps=1e-12) * self.scales.view(-1, 1, 1)

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the scales."""
        yield "scales", self.scales

    def initialise(self) -> None:
        """``init``."""
        nn.init.constant_(self.scales, self.options.init)


def constant(values: Sequence[Any], like: Tensor) -> Tensor:
    """Return a tensor of the type and device of another, which a GPU is not waited for."""
    return torch.tensor(values).to(like, non_blocking=True)


class Matches(NamedTuple):
    """Which target each default box of a batch is to predict.

    Attributes:
        boxes: float [batch, boxes, 4], (cx, cy, w, h) relative to the image; those of unmatched boxes have no meaning.
        classes: int64 [batch, boxes]: 0 for the background, else 1 + class.
    """

    boxes: Tensor
    classes: Tensor


@section("multibox")
class Multibox(Head):
    """The predictions of all scales, one column for each default box, and the default boxes themselves.

    The output is [batch, 5 + classes + 4, boxes, 1]: offsets, scores before the softmax with the background first, and
    the default box (cx, cy, w, h) in pixels of the input. Boxes are ordered by map, row, column, and as in ``sizes``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Head.Options):
        """Keys of ``[multibox]``: lists have one value for each map."""

        layers: tuple[int, ...] = option(dataclasses.MISSING, "the maps, from fine to coarse", layers=True)
        classes: int = option(20, "number of classes, without the background", min=1, max=1000000)
        min_sizes: tuple[float, ...] = option(dataclasses.MISSING, "side of the square box in pixels", min=1, max=1e6)
        max_sizes: tuple[float, ...] = option(
            dataclasses.MISSING, "the larger square box has the side sqrt(min_size * max_size)", min=1, max=1e6
        )
        steps: tuple[float, ...] = option(
            dataclasses.MISSING, "distance between the centres of cells in pixels", min=1, max=1e6
        )
        boxes: tuple[int, ...] = option(
            dataclasses.MISSING, "default boxes of a cell: two squares, and two for each ratio", min=2, max=1000
        )
        aspect_ratios: tuple[float, ...] = option(
            (2.0, 3.0), "width / height; a map uses the first ones, each with its inverse", min=1e-3, max=1e3
        )
        clip: bool = option(False, "limit width and height of the default boxes to those of the image")
        match_iou: float = option(0.5, "IoU above which a box is matched to a target", train=True, min=0, max=1)
        negatives: float = option(3.0, "negatives per positive, those of the largest loss", train=True, min=0, max=1e6)
        random: float = option(0.0, "multi-scale training: range of the input's size", train=True, min=0, max=1000)

        def sources(self, index: int) -> tuple[int, ...]:
            """The maps."""
            return resolve_indices(self.layers, index)

    options: Options
    has_loss = True

    def __init__(self, options: Options, *maps: Shape) -> None:
        super().__init__(options, maps[0])
        for key in ("min_sizes", "max_sizes", "steps", "boxes"):
            if len(getattr(options, key)) != len(maps):
                raise ValueError(f"{key}: expected {len(maps)} values, one per map, got {len(getattr(options, key))}")
        for shape, expected, boxes in zip(maps, self.inputs_for(options.classes), options.boxes, strict=True):
            if boxes % 2 or (boxes - 2) // 2 > len(options.aspect_ratios):
                raise ValueError(f"boxes: expected 2 and two for each of aspect_ratios, at most, got {boxes}")
            if shape.channels != expected:
                raise ValueError(
                    f"a map has {shape.channels} filters, expected {expected}: {boxes} boxes * "
                    f"(classes={options.classes} + 5)"
                )
        count = sum(shape.height * shape.width * boxes for shape, boxes in zip(maps, options.boxes, strict=True))
        self.shape = Shape(self._entries + _BOX, count, 1)

    @property
    def classes(self) -> int:
        """Number of classes, without the background."""
        return self.options.classes

    @property
    def multi_scale(self) -> float:
        """Value of ``random``."""
        return self.options.random

    @property
    def _entries(self) -> int:
        return _BOX + 1 + self.options.classes

    def inputs_for(self, classes: int) -> tuple[int, ...]:
        """Offsets, background and classes for the boxes of each map."""
        return tuple(boxes * (_BOX + 1 + classes) for boxes in self.options.boxes)

    def forward(self, *maps: Tensor) -> Tensor:
        """Join the maps, float [batch, boxes * (5 + classes), height, width] each."""
        entries = self._entries
        columns = [x.unflatten(1, (-1, entries)).permute(0, 2, 3, 4, 1).flatten(2) for x in maps]
        predictions = torch.cat(columns, dim=2)
        boxes = torch.cat([self.default_boxes(number, x) for number, x in enumerate(maps)])
        constants = boxes.t().expand(predictions.shape[0], -1, -1)
        return torch.cat((predictions, constants), dim=1).unsqueeze(3)

    def default_boxes(self, number: int, x: Tensor) -> Tensor:
        """Return a map's default boxes, float32 [height * width * boxes, 4], (cx, cy, w, h) in pixels of the input.

        Args:
            number: number of the map among the layers that are read.
            x: the map, for its size and device.
        """
        step = self.options.steps[number]
        rows, columns = (step * (torch.arange(n, device=x.device, dtype=torch.float32) + 0.5) for n in x.shape[2:])
        sizes = constant(self.sizes(number), rows)
        cy, cx = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack((cx, cy), dim=2).flatten(0, 1)
        pairs = (centres[:, None].expand(-1, len(sizes), -1), sizes.expand(centres.shape[0], -1, -1))
        return torch.cat(pairs, dim=2).flatten(0, 1)

    def sizes(self, number: int) -> list[tuple[float, float]]:
        """Return (width, height) of the default boxes of a map's cell in pixels of the input."""
        options = self.options
        side, larger = options.min_sizes[number], math.sqrt(options.min_sizes[number] * options.max_sizes[number])
        sizes = [(side, side), (larger, larger)]
        for ratio in options.aspect_ratios[: (options.boxes[number] - 2) // 2]:
            long, short = side * math.sqrt(ratio), side / math.sqrt(ratio)
            sizes += [(long, short), (short, long)]
        return sizes

    def split(self, output: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return offsets [batch, boxes, 4], scores [batch, boxes, 1 + classes], default boxes [boxes, 4] of an output.

        The default boxes are (cx, cy, w, h) relative to the input, whose width and height in pixels is ``size``.
        """
        columns = output.squeeze(3).transpose(1, 2)
        offsets, scores, pixels = columns.split((_BOX, 1 + self.options.classes, _BOX), dim=2)
        boxes = pixels[0] / constant(size, pixels).repeat(2)
        if self.options.clip:
            boxes = torch.cat((boxes[:, :2], boxes[:, 2:].clamp(max=1)), dim=1)
        return offsets, scores, boxes

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all boxes; probabilities are those of the softmax without the background."""
        offsets, scores, defaults = self.split(output, size)
        shifts = offsets * constant(_VARIANCES, offsets)
        centres = defaults[:, :2] + shifts[..., :2] * defaults[:, 2:]
        return torch.cat((centres, defaults[:, 2:] * shifts[..., 2:].exp()), dim=2), scores.softmax(dim=2)[..., 1:]

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes with a class probability above the threshold; their objectness is that of all classes."""
        if isinstance(output, SelectedRows):
            raise TypeError("expected the whole output of the head, got selected rows")
        found = []
        for boxes, probs in zip(*self.decode_all(output, size), strict=True):
            kept = torch.where(probs > options.threshold, probs, 0)
            rows = kept.any(dim=1)
            found.append(RawDetections(boxes[rows], probs[rows].sum(dim=1), kept[rows]))
        return found

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute smooth L1 loss and cross-entropy over the matched boxes of the mini-batch (equation 1 of the paper).

        Per matched box, times the number of images, as Darknet divides the sum of all gradients by it.
        """
        offsets, scores, boxes = self.split(output, context.size)
        defaults = boxes.detach()
        matches = self.match(targets[:, : self.options.max].to(output.device, non_blocking=True), defaults)
        positive = matches.classes > 0
        count = positive.sum().clamp(min=1)
        # Masks in place of selected rows, whose number a GPU would be waited for.
        wanted = torch.where(positive[..., None], encode(matches.boxes, defaults), offsets.detach())
        boxes = F.smooth_l1_loss(offsets, wanted, reduction="sum") / count
        entropy = F.cross_entropy(scores.transpose(1, 2), matches.classes, reduction="none")
        used = positive | hard_negatives(entropy.detach(), positive, self.options.negatives)
        classes = torch.where(used, entropy, 0).sum() / count
        return differentiable_loss(len(output) * (boxes + classes), boxes=boxes, classes=classes, count=count)

    def match(self, targets: Tensor, defaults: Tensor) -> Matches:
        """Match default boxes to targets: the best box of each target to it, others to their best target.

        Args:
            targets: float [batch, n, 6] (cx, cy, w, h, class, track), padded with zeros.
            defaults: float [boxes, 4], (cx, cy, w, h) relative to the image, as the targets.
        """
        is_target = targets[..., 0] != 0
        overlaps = iou(targets[:, :, None, :_BOX], defaults).masked_fill(~is_target[..., None], -1)
        best, number = overlaps.max(dim=1)
        # 1 + the target whose favourite a box is, of several the last; 0: of none.
        ranks = is_target * torch.arange(1, 1 + targets.shape[1], device=targets.device)
        claims = torch.zeros_like(number).scatter_reduce(1, overlaps.argmax(dim=2), ranks, "amax")
        number = torch.where(claims > 0, claims - 1, number)
        matched = targets.gather(1, number[..., None].expand(-1, -1, targets.shape[2]))
        is_matched = (best >= self.options.match_iou) | (claims > 0)
        return Matches(matched[..., :_BOX], torch.where(is_matched, matched[..., _BOX].long() + 1, 0))

    def describe(self) -> str:
        """Classes and boxes."""
        return f"{self.options.classes} classes, {self.shape.height} boxes"


def encode(boxes: Tensor, defaults: Tensor) -> Tensor:
    """Return the offsets of boxes from default boxes, all (cx, cy, w, h): what ``[multibox]`` is to predict."""
    shifts = (boxes[..., :2] - defaults[..., :2]) / defaults[..., 2:]
    ratios = (boxes[..., 2:] / defaults[..., 2:]).log()
    return torch.cat((shifts, ratios), dim=-1) / constant(_VARIANCES, boxes)


def hard_negatives(loss: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """Return the boxes of each image with the largest loss among the negatives: ``ratio`` times its positives.

    Args:
        loss: float [batch, boxes].
        positive: bool [batch, boxes].
        ratio: number of negatives per positive.
    """
    ranks = torch.where(positive, -torch.inf, loss).argsort(dim=1, descending=True).argsort(dim=1)
    return (ranks < ratio * positive.sum(dim=1, keepdim=True)) & ~positive
