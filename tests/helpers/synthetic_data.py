"""A synthetic data set, coloured rectangles on noise, and the cfg of a small detector that learns it."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from PIL import Image

SIZE = 64
COLOURS = {"red": (220, 40, 40), "blue": (50, 70, 230)}

CFG = """
[net]
width=64
height=64
channels=3
batch={batch}
subdivisions=2
max_batches={max_batches}
learning_rate=0.01
burn_in={burn_in}
power=2
policy=steps
steps=10000
scales=.1
momentum=0.9
decay=0.0005
hue=0.02
saturation=1.1
exposure=1.2
[convolutional]
batch_normalize={norm}
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize={norm}
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize={norm}
filters=32
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=14,14, 28,28
classes=2
num=2
jitter=.1
ignore_thresh=.7
iou_loss=ciou
iou_normalizer=.5
"""


def cfg(folder: pathlib.Path, *, max_batches: int, batch: int = 8, norm: int = 1, **keys: Any) -> pathlib.Path:
    """Write the cfg of the detector; ``keys``: further keys of [net], or other values."""
    text = CFG.format(max_batches=max_batches, batch=batch, norm=norm, burn_in=min(10, max_batches - 1))
    kept = [line for line in text.split("\n") if line.partition("=")[0] not in keys]
    first = kept.index("[net]") + 1
    kept[first:first] = [f"{key}={value}" for key, value in keys.items()]
    path = folder / "tiny.cfg"
    path.write_text("\n".join(kept))
    return path


def data(folder: pathlib.Path, *, train: int = 40, valid: int = 16) -> pathlib.Path:
    """Write images, label files and the .data file."""
    for part, count, seed in (("train", train, 1), ("valid", valid, 2)):
        rng = np.random.default_rng(seed)
        names = [str(_image(folder, f"{part}{index:03}", rng)) for index in range(count)]
        (folder / f"{part}.txt").write_text("\n".join(names) + "\n")
    (folder / "tiny.names").write_text("\n".join(COLOURS) + "\n")
    path = folder / "tiny.data"
    rows = {"classes": len(COLOURS), "backup": folder / "backup", "names": folder / "tiny.names"}
    rows |= {part: folder / f"{part}.txt" for part in ("train", "valid")}
    path.write_text("".join(f"{key} = {value}\n" for key, value in rows.items()))
    return path


def _image(folder: pathlib.Path, name: str, rng: np.random.Generator) -> pathlib.Path:
    """Write an image with one rectangle in the left half, in the right half, or in each, and its label file."""
    pixels = rng.integers(90, 160, (SIZE, SIZE, 3), dtype=np.uint8)
    rows = []
    for half in rng.permutation(2)[: rng.integers(1, 3)]:
        width, height = (int(n) for n in rng.integers(10, 28, 2))
        left = int(half) * SIZE // 2 + int(rng.integers(0, SIZE // 2 - width))
        top = int(rng.integers(0, SIZE - height))
        kind = int(rng.integers(2))
        pixels[top : top + height, left : left + width] = tuple(COLOURS.values())[kind]
        box = ((left + width / 2) / SIZE, (top + height / 2) / SIZE, width / SIZE, height / SIZE)
        rows.append(f"{kind} " + " ".join(f"{number:.6f}" for number in box))
    Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return folder / f"{name}.png"
