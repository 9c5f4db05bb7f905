"""Reference values of Darknet's C code: read them, and create the weights and inputs they were computed from.

A reference ``NAME.json.gz`` belongs to ``NAME.cfg``; ``Reference`` documents its contents. Weights and inputs are not
stored: they come from a hash of (seed, position), in 64-bit integers and one division, so that all machines create the
same float32 bits.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

HEADER = np.array([0, 2, 5], "<i4").tobytes() + np.array([32013312], "<u8").tobytes()
"""The 20 bytes before the floats: major, minor, revision, and 64 bits of images seen."""

SAMPLES = 48
"""How many floats of a longer output a reference holds."""

_BLOCK = 1 << 20
_STRIDE = np.uint64(0x9E3779B97F4A7C15)
INPUT_STREAM = 0xABCDEF12345
"""What a reference's seed is xored with for the stream of its images."""
TARGET_STREAM = 0x7777777
"""The same for its targets."""

Chunk = tuple[int, str, int, float, float]
"""An array of a .weights file: layer, kind, number of floats, and the range that they are drawn from."""


class Entry(TypedDict):
    """One layer after one pass: index, section, shape, number of floats, their sum and rms, and samples."""

    i: int
    type: str
    chw: list[int]
    n: int
    sum: float
    rms: float
    v: list[float]


class Boxes(TypedDict):
    """Boxes as C returns them.

    ``dets``: the 60 most probable, each [class, its probability, objectness, x, y, w, h], centre and size relative
    to the image; ``count``: number of boxes returned; ``alive``: number of boxes with a class above 0; ``pairs``:
    number of (box, class) pairs above 0.
    """

    count: int
    alive: int
    pairs: NotRequired[int]
    nms_kind: int
    dets: list[list[float]]


class Step(TypedDict):
    """One forward pass; the boxes are those above ``thresh``, before and after NMS at 0.45."""

    layers: list[Entry]
    thresh: NotRequired[float]
    boxes: NotRequired[Boxes]
    nms: NotRequired[Boxes]


class Reference(TypedDict):
    """The contents of a file.

    ``inputs``: channels, height, width, floats (the first three 0 for a flat input). ``chunks``: the arrays of
    the .weights file in order. ``oracle``: the C code, ``alexeyab`` or ``pjreddie``. ``steps``: passes without a
    reset in between.
    """

    inputs: list[int]
    seed: int
    oracle: str
    chunks: list[Chunk]
    steps: list[Step]


def load(path: Path) -> Reference:
    """Read a ``.json.gz``."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return cast(Reference, json.load(file))


def _scramble(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: https://prng.di.unimi.it/splitmix64.c, one output for each state."""
    x = x + _STRIDE
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed: int, start: int, count: int) -> NDArray[np.float64]:
    """Numbers ``start`` to ``start + count - 1`` of the stream ``seed``, in [0, 1): 24 bits each, exact in float32."""
    state = np.full(count, seed, np.uint64) + np.arange(start, start + count, dtype=np.uint64) * _STRIDE
    return (_scramble(state) >> np.uint64(40)).astype(np.float64) / (1 << 24)


def floats(reference: Reference) -> int:
    """The number of floats in the .weights file."""
    return sum(chunk[2] for chunk in reference["chunks"])


def write_chunks(chunks: list[Chunk], seed: int, path: Path) -> None:
    """Write a .weights file with the arrays ``chunks``, drawn from the stream ``seed``."""
    position = 0
    with path.open("wb") as file:
        file.write(HEADER)
        for _, _, count, low, high in chunks:
            for start in range(0, count, _BLOCK):
                part = uniform(seed, position + start, min(_BLOCK, count - start))
                file.write((low + (high - low) * part).astype("<f4").tobytes())
            position += count


def write_weights(reference: Reference, path: Path) -> None:
    """Write the .weights file that the reference was made with."""
    write_chunks(reference["chunks"], reference["seed"], path)


def input_array(reference: Reference, step: int = 0) -> NDArray[np.float32]:
    """The input of a pass: [1, channels, height, width], or [1, floats] for a network without an image."""
    channels, height, width, count = reference["inputs"]
    flat = uniform((reference["seed"] + step) ^ INPUT_STREAM, 0, count).astype(np.float32)
    return flat.reshape((1, channels, height, width) if channels * height * width else (1, count))


def sample_positions(layer: int, count: int) -> NDArray[np.int64]:
    """Positions of the values ``v`` among a layer's ``count`` floats: all if they are few, else ``SAMPLES`` by hash."""
    if count <= SAMPLES:
        return np.arange(count, dtype=np.int64)
    state = np.arange(SAMPLES, dtype=np.uint64) + np.uint64(layer * 1000003)
    return (_scramble(state) % np.uint64(count)).astype(np.int64)


def layer_error(entry: Entry, output: ArrayLike) -> float:
    """The error of a layer's output for one image, relative to the rms of C's output; inf if the sizes differ.

    The larger of the largest error of a sample and the error of the rms of all floats. NaN counts as inf.
    """
    flat = np.asarray(output, dtype=np.float64).reshape(-1)
    if flat.size != entry["n"]:
        return float("inf")
    if not flat.size:
        return 0.0
    scale = max(entry["rms"], 1e-3)
    worst = np.abs(flat[sample_positions(entry["i"], flat.size)] - np.asarray(entry["v"])).max()
    error = float(max(worst, abs(np.sqrt(np.mean(flat * flat)) - entry["rms"]))) / scale
    return error if np.isfinite(error) else float("inf")
