"""Compare two models layer by layer where both expose their layers, else by their detections.

A difference is ``max |a - b| / RMS(a)`` of a layer's outputs, so that one tolerance fits all layers. The first
layer above the tolerance is where to search for the cause: later layers inherit its difference.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..cfg import Dialect
from ..errors import DarknetError
from ..images import resizing
from ..images.limits import MAX_PIXELS
from ..images.reading import ImageSource, read_image
from ..layers import Shape
from ..modes import standard_defaults
from ..network import Network
from ..runtimes import is_model_file
from .backends import Backend, BackendOutput, NativeBackend, Size
from .diagnosis import compare_weights, diagnose
from .file_backend import FileBackend
from .libdarknet import LibdarknetBackend
from .matching import BoxMatches, match_boxes
from .opencv_backend import OpenCVBackend


@dataclass(frozen=True)
class LayerDifference:
    """The difference between the outputs of one layer.

    Attributes:
        number: Number of the layer.
        section: Its section in A, or in B if A has no such layer.
        other_section: Its section in B, or in A if B has no such layer.
        shape: Shape of its output: (channels, height, width).
        difference: ``max |a - b| / RMS(a)``; None unless both sides expose the layer.
    """

    number: int
    section: str
    other_section: str
    shape: tuple[int, ...]
    difference: float | None


@dataclass(frozen=True)
class ComparisonReport:
    """The result of ``compare_models``.

    Attributes:
        a: Description of model A.
        b: Description of model B.
        input: Description of the input.
        tolerance: Largest difference of a layer that passes.
        layers: One entry per layer.
        boxes: Matches of the detections; None unless both models are detectors.
        first: The first layer above the tolerance, or with different sections.
        causes: Probable causes of the difference in ``first``, the most certain first.
        unequal_weights: Numbers of the layers whose stored weights differ.
    """

    a: str
    b: str
    input: str
    tolerance: float
    layers: tuple[LayerDifference, ...]
    boxes: BoxMatches | None
    first: LayerDifference | None
    causes: tuple[str, ...]
    unequal_weights: tuple[int, ...]

    @property
    def is_same(self) -> bool:
        """Whether all layers that both models expose and all detections agree."""
        return self.first is None and (self.boxes is None or self.boxes.is_same)

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON; differences that are NaN or Inf become null."""
        content = {"same": self.is_same} | dataclasses.asdict(self)
        if self.boxes is not None:
            content["boxes"]["same"] = self.boxes.is_same
        for layer in (*content["layers"], *([content["first"]] if content["first"] else ())):
            if layer["difference"] is not None and not math.isfinite(layer["difference"]):
                layer["difference"] = None
        return content


@standard_defaults()
def compare_models(
    a: str,
    b: str,
    *,
    image: ImageSource | None = None,
    seed: int = 0,
    size: Size | None = None,
    tolerance: float = 1e-4,
    dialect: Dialect | str | None = None,
    threshold: float = 0.25,
    nms: float = 0.45,
    nms_kind: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ComparisonReport:
    """Run two models on one input and compare their outputs.

    Args:
        a: A model as ``compare.backends`` describes it.
        b: Another model.
        image: The input, resized without letterbox; None: uniform noise in 0..1.
        seed: Seed of the noise.
        size: Width and height of the input; None: the only size that one of the models accepts, else A's.
        tolerance: Largest difference of a layer that passes, relative to the RMS of A's output.
        dialect: Dialect in which this package reads a cfg; None: that of the other library or file, else AlexeyAB's.
        threshold: Score threshold of detections, 0..1.
        nms: IoU threshold of NMS, 0..1; 0 disables it.
        nms_kind: Kind of NMS, see ``boxes.NMSKind``; None: that of each model.
        max_pixels: Refuse an image file with more pixels.

    Raises:
        DarknetError: A model cannot be run, or the models expose nothing that can be compared.
    """
    sides = [find_backend(text) for text in (a, b)]
    networks = _load(sides, size, Dialect(dialect) if dialect else None)
    x, description = _make_input(sides, size, image, seed, max_pixels)
    outputs = [
        side.run(x, threshold, nms, other, nms_kind) for side, other in zip(sides, reversed(networks), strict=True)
    ]
    layers = _compare_layers(outputs, networks)
    first = next((layer for layer in layers if not _passes(layer, tolerance)), None)
    boxes = None
    if outputs[0].boxes is not None and outputs[1].boxes is not None:
        boxes = match_boxes(outputs[0].boxes, outputs[1].boxes, (x.shape[3], x.shape[2]), threshold)
    if boxes is None and all(layer.difference is None for layer in layers):
        raise DarknetError(f"{sides[0]} and {sides[1]}: nothing to compare: they share neither a layer nor detections")
    unequal_weights = _unequal_weights(networks)
    causes: list[str] = []
    if first is not None:
        left, right = (output.layers.get(first.number, torch.empty(0)) for output in outputs)
        causes = diagnose(first.number, networks[0], networks[1], left, right)
        if first.number not in unequal_weights:
            causes = _diagnose_accumulation(layers, first, tolerance) + causes
    return ComparisonReport(
        a=str(sides[0]),
        b=str(sides[1]),
        input=description,
        tolerance=tolerance,
        layers=layers,
        boxes=boxes,
        first=first,
        causes=tuple(causes),
        unequal_weights=unequal_weights,
    )


def find_backend(text: str) -> Backend:
    """Return the backend for a command-line argument. Raises DarknetError."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix in ("opencv", "darknet"):
        return (OpenCVBackend if prefix == "opencv" else LibdarknetBackend)(rest)
    if is_model_file(text):
        return FileBackend(text)
    return NativeBackend(text)


def relative_difference(left: Tensor, right: Tensor) -> float:
    """Compute ``max |left - right| / RMS(left)`` over finite values.

    Args:
        left: float tensor of any shape.
        right: float tensor with as many values, which are compared in their order in memory.

    Returns:
        The relative difference, 0 or more; inf if a value is NaN, or if numbers of values or indices of Inf differ.
    """
    if left.numel() != right.numel():
        return math.inf
    left, right = left.flatten().double(), right.flatten().double()
    finite = left.isfinite()
    unequal = left[~finite] != right[~finite]
    if not bool(right[finite].isfinite().all()) or bool(unequal.any()):
        return math.inf
    left, right = left[finite], right[finite]
    if not left.numel():
        return 0.0
    rms = float(left.square().mean().sqrt())
    return float((left - right).abs().max()) / (rms or 1.0)


def _load(sides: list[Backend], size: Size | None, dialect: Dialect | None) -> list[Network | None]:
    """Load both sides at one size and return their networks."""
    size = size or next((side.size for side in sides if side.size), None)
    dialect = dialect or next((side.dialect for side in sides if side.dialect), None)
    for side in sorted(sides, key=lambda side: side.size is not None):
        side.load(size, dialect)
        if size is None and side.network is not None:
            size = side.network.shape.width, side.network.shape.height
    return [side.network for side in sides]


def _make_input(
    sides: list[Backend], size: Size | None, image: ImageSource | None, seed: int, max_pixels: int
) -> tuple[Tensor, str]:
    """Return the input [1, channels, height, width] of both sides, and its description."""
    shapes = [side.network.shape for side in sides if side.network is not None]
    if not shapes:
        size = size or next((side.size for side in sides if side.size), None)
        if size is None:
            raise DarknetError(f"{sides[0]} and {sides[1]}: both accept any input size: expected --imgsz WIDTH HEIGHT")
        shapes = [Shape(side.channels, size[1], size[0]) for side in sides]
    shape = shapes[0]
    if shapes[-1] != shape:
        raise DarknetError(f"input shapes differ: {tuple(shape)} for {sides[0]}, {tuple(shapes[-1])} for {sides[1]}")
    text = shape.describe()
    if image is None:
        return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)), f"{text}, noise with seed {seed}"
    loaded = read_image(image, shape.channels, max_pixels=max_pixels)
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else "an image"
    return resizing.prepare_input(loaded, (shape.width, shape.height))[None], f"{text}, {name}"


def _compare_layers(outputs: list[BackendOutput], networks: list[Network | None]) -> tuple[LayerDifference, ...]:
    """Compare each layer that either side has."""
    a, b = (side.layers for side in outputs)
    count = max([len(network.layers) for network in networks if network is not None] or [max([-1, *a, *b]) + 1])
    layers = []
    for number in range(count):
        left, right = a.get(number), b.get(number)
        names = [_section_name(network, number) for network in networks]
        exposed = left if left is not None else right
        difference = None if left is None or right is None else relative_difference(left, right)
        shape = () if exposed is None else tuple(exposed.shape)
        layers.append(LayerDifference(number, names[0] or names[1], names[1] or names[0], shape, difference))
    return tuple(layers)


def _section_name(network: Network | None, number: int) -> str:
    """The first name of a layer's section type, since [conv] and [convolutional] are one; empty if unknown."""
    if network is None:
        return ""
    return network[number].names[0] if number < len(network.layers) else "none"


def _passes(layer: LayerDifference, tolerance: float) -> bool:
    return layer.section == layer.other_section and (layer.difference is None or layer.difference <= tolerance)


def _diagnose_accumulation(layers: tuple[LayerDifference, ...], first: LayerDifference, tolerance: float) -> list[str]:
    """Report accumulated rounding where the layers before ``first`` come close to the tolerance as well."""
    before = [layer.difference for layer in layers[: first.number] if layer.difference is not None]
    if first.difference is None or first.difference > 5 * tolerance or max(before, default=0.0) < tolerance / 5:
        return []
    return [f"earlier layers differ by up to {max(before):.1e}: accumulated rounding, see --tolerance"]


def _unequal_weights(networks: list[Network | None]) -> tuple[int, ...]:
    """Numbers of the layers whose stored weights differ."""
    a, b = networks
    if a is None or b is None:
        return ()
    return tuple(n for n in range(min(len(a.layers), len(b.layers))) if compare_weights(n, a, b))
