"""``compare``: whether two models are the same, layer by layer where both show their layers, by their boxes else.

A difference is the largest absolute one over the rms of A's output, so that 1e-4 means the same for every layer.
The first layer that is beyond the tolerance is where to look: those behind it only carry it on.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..cfg import Dialect
from ..errors import DarknetError
from ..images import resizing
from ..images.reading import ImageSource, read_image
from ..layers import Shape
from ..network import Network
from . import diagnosis as causes_
from .backends import Backend, BackendOutput, NativeBackend, Size
from .libdarknet import C
from .matching import BoxMatches, match
from .onnx_backend import OnnxBackend
from .opencv_backend import OpenCVBackend


@dataclass(frozen=True)
class Row:
    """A layer: its number, section in A and in B, output shape, and difference (None: not in both)."""

    number: int
    section: str
    other: str
    shape: tuple[int, ...]
    difference: float | None


@dataclass(frozen=True)
class Report:
    """What ``compare`` found. ``first``: the first layer beyond the tolerance; ``causes``: what may make it so.

    ``stored``: layers whose numbers in the weights files are not the same.
    """

    a: str
    b: str
    input: str
    tolerance: float
    rows: tuple[Row, ...]
    boxes: BoxMatches | None
    first: Row | None
    causes: tuple[str, ...]
    stored: tuple[int, ...]

    @property
    def same(self) -> bool:
        """Whether all that can be compared agrees."""
        return self.first is None and (self.boxes is None or self.boxes.same)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON, a difference that is no finite number as null."""
        row = {"same": self.same} | dataclasses.asdict(self)
        if self.boxes is not None:
            row["boxes"]["same"] = self.boxes.same
        for each in (*row["rows"], *([row["first"]] if row["first"] else ())):
            if each["difference"] is not None and not math.isfinite(each["difference"]):
                each["difference"] = None
        return row


def compare(
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
) -> Report:
    """Run two models on one input.

    ``a``, ``b``: as ``subjects`` has them. ``image``: stretched to the input; None: noise in 0..1 of
    ``seed``. ``size``: width and height; None: a size that one of them is bound to, else A's. ``dialect``: by
    whose rules this package reads a cfg; None: by those of the other side's library or file, else
    AlexeyAB's. ``threshold``, ``nms``: of boxes. Raises DarknetError, also where nothing can be compared.
    """
    sides = [find(text) for text in (a, b)]
    networks = _load(sides, size, Dialect(dialect) if dialect else None)
    x, words = _input(sides, size, image, seed)
    found = [side.run(x, threshold, nms, guide) for side, guide in zip(sides, reversed(networks), strict=True)]
    rows = _rows(found, networks)
    first = next((row for row in rows if not _within(row.difference, tolerance) or row.section != row.other), None)
    boxes = None
    if found[0].boxes is not None and found[1].boxes is not None:
        boxes = match(found[0].boxes, found[1].boxes, (x.shape[3], x.shape[2]), threshold)
    if boxes is None and all(row.difference is None for row in rows):
        raise DarknetError(f"{sides[0]} and {sides[1]}: no layer and no boxes that both show")
    unequal = _unequal(networks)
    why: list[str] = []
    if first is not None:
        outputs = [side.layers.get(first.number, torch.empty(0)) for side in found]
        why = causes_.causes(first.number, networks[0], networks[1], outputs[0], outputs[1])
        why = (_grown(rows, first, tolerance) if first.number not in unequal else []) + why
    return Report(str(sides[0]), str(sides[1]), words, tolerance, rows, boxes, first, tuple(why), unequal)


def find(text: str) -> Backend:
    """The subject that an argument means. Raises DarknetError."""
    kind, colon, rest = text.partition(":")
    if colon and kind in ("opencv", "darknet"):
        return (OpenCVBackend if kind == "opencv" else C)(rest)
    if text.lower().endswith(".onnx"):
        return OnnxBackend(text)
    return NativeBackend(text)


def difference(left: Tensor, right: Tensor) -> float:
    """The largest absolute difference over the rms of ``left``; inf where sizes or non-numbers differ."""
    if left.numel() != right.numel():
        return math.inf
    left, right = left.flatten().double(), right.flatten().double()
    finite = left.isfinite()
    odd = ~torch.isclose(left[~finite], right[~finite], equal_nan=True)
    if not bool(right[finite].isfinite().all()) or bool(odd.any()):
        return math.inf
    left, right = left[finite], right[finite]
    if not left.numel():
        return 0.0
    rms = float(left.square().mean().sqrt())
    return float((left - right).abs().max()) / (rms or 1.0)


def _load(sides: list[Backend], size: Size | None, dialect: Dialect | None) -> list[Network | None]:
    """Load both at one size; their networks, where they have one."""
    size = size or next((side.size for side in sides if side.size), None)
    dialect = dialect or next((side.dialect for side in sides if side.dialect), None)
    for side in sorted(sides, key=lambda side: side.size is not None):
        side.load(size, dialect)
        if size is None and side.network is not None:
            size = side.network.shape.width, side.network.shape.height
    return [side.network for side in sides]


def _input(sides: list[Backend], size: Size | None, image: ImageSource | None, seed: int) -> tuple[Tensor, str]:
    """The input [1, channels, height, width] of both, and what it is in words."""
    shapes = [side.network.shape for side in sides if side.network is not None]
    if not shapes:
        size = size or next((side.size for side in sides if side.size), None)
        if size is None:
            raise DarknetError(f"{sides[0]} and {sides[1]}: inputs of any size: expected --size WIDTH HEIGHT")
        shapes = [Shape(side.channels, size[1], size[0]) for side in sides]
    shape = shapes[0]
    if shapes[-1] != shape:
        raise DarknetError(f"inputs differ: {sides[0]} reads {tuple(shape)}, {sides[1]} {tuple(shapes[-1])}")
    words = f"{shape.width} x {shape.height} x {shape.channels}"
    if image is None:
        return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)), f"{words}, noise of seed {seed}"
    loaded = read_image(image, shape.channels)
    return resizing.prepare_input(loaded, (shape.width, shape.height))[None], f"{words}, {image}"


def _rows(found: list[BackendOutput], networks: list[Network | None]) -> tuple[Row, ...]:
    """A row for each layer that one side has."""
    a, b = (side.layers for side in found)
    count = max([len(network.layers) for network in networks if network is not None] or [max([-1, *a, *b]) + 1])
    rows = []
    for number in range(count):
        left, right = a.get(number), b.get(number)
        names = [_section(network, number) for network in networks]
        shown = left if left is not None else right
        apart = None if left is None or right is None else difference(left, right)
        shape = () if shown is None else tuple(shown.shape)
        rows.append(Row(number, names[0] or names[1], names[1] or names[0], shape, apart))
    return tuple(rows)


def _section(network: Network | None, number: int) -> str:
    """The first of a section's names, as [conv] and [convolutional] are one; nothing where none is known."""
    if network is None:
        return ""
    return network[number].names[0] if number < len(network.layers) else "none"


def _grown(rows: tuple[Row, ...], first: Row, tolerance: float) -> list[str]:
    """Whether the layers before come close to the tolerance, too."""
    before = [row.difference for row in rows[: first.number] if row.difference is not None]
    if first.difference is None or first.difference > 5 * tolerance or max(before, default=0.0) < tolerance / 5:
        return []
    return [f"{max(before):.1e} in the layers before: it has grown as rounding does, see --tolerance"]


def _within(difference: float | None, tolerance: float) -> bool:
    return difference is None or difference <= tolerance


def _unequal(networks: list[Network | None]) -> tuple[int, ...]:
    """Layers whose numbers in the weights files are not the same."""
    a, b = networks
    if a is None or b is None:
        return ()
    return tuple(n for n in range(min(len(a.layers), len(b.layers))) if causes_.in_stored(n, a, b))
