"""Train the networks of golden/conformance/training* as C Darknet did, and measure how far the results are apart.

A reference ``NAME.json.gz`` belongs to ``NAME.cfg`` and to ``NAME.final.weights.gz``, which C saved after the last
iteration. First weights, images and targets are drawn from hash streams (reference_values.py).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import darknet_py
from tests.helpers import paths, reference_values
from tests.helpers.reference_values import Chunk

FOLDERS = {"training": "darknet", "training_more": "darknet", "training_cpu": "darknet-cpu"}
"""The folders, and the rules for gradients that C's build followed: of its CUDA sources, or of its CPU sources."""

_VALUES = paths.GOLDEN / "conformance"


class MiniBatch(TypedDict):
    """A mini-batch of C's; the values of its layers are not used here."""

    cost: float


class Iteration(TypedDict):
    """One iteration: its learning rate and its mini-batches."""

    rate: float
    subs: list[MiniBatch]


class TrainingReference(TypedDict):
    """The contents of a file.

    ``inputs``: channels, height, width, floats. ``chunks``: the arrays of the .weights file in order. ``batch``: images
    of a mini-batch. ``kind``: what targets are: ``classifier``, ``detection`` (no two objects in a cell of the grid of
    ``side``) or another detector.
    """

    seed: int
    inputs: list[int]
    chunks: list[Chunk]
    batch: int
    subdivisions: int
    kind: str
    classes: int
    side: int
    iterations: list[Iteration]


class Difference(NamedTuple):
    """How far a training is from C's.

    ``weights``: the distance between both last weights, over the distance that C's weights moved; ``array``: the array
    that is worst; ``cost`` and ``lr``: the largest relative differences.
    """

    weights: float
    array: str
    cost: float
    lr: float


class _Stream:
    """Consecutive values of a hash stream, as float32."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.position = 0

    def take(self, *size: int) -> NDArray[np.float32]:
        count = int(np.prod(size))
        self.position += count
        values = reference_values.uniform(self.seed, self.position - count, count)
        return values.astype(np.float32).reshape(size)


def names(folder: str) -> list[str]:
    """The networks of a folder."""
    return sorted(path.name.removesuffix(".json.gz") for path in (_VALUES / folder).glob("*.json.gz"))


def cfg_path(folder: str, name: str) -> Path:
    """The cfg of a network; ``training_cpu`` uses those of ``training``."""
    return _VALUES / ("training" if folder == "training_cpu" else folder) / f"{name}.cfg"


def load(folder: str, name: str) -> TrainingReference:
    """The reference of a network."""
    return cast(TrainingReference, json.loads(gzip.decompress((_VALUES / folder / f"{name}.json.gz").read_bytes())))


def _class_targets(stream: _Stream, reference: TrainingReference) -> Tensor:
    """One class an image: float [batch, classes], 0 or 1."""
    targets = torch.zeros(reference["batch"], reference["classes"])
    for row in targets:
        row[int(stream.take(1)[0] * np.float32(reference["classes"]))] = 1
    return targets


def _box_targets(stream: _Stream, reference: TrainingReference) -> list[Tensor]:
    """Per image float [n, 5]: x, y, w, h relative to the image, and the class."""
    on_grid = reference["kind"] == "detection"
    low = np.array([0.1, 0.1, 0.1, 0.1] if on_grid else [0.1, 0.1, 0.05, 0.05], np.float32)
    span = np.array([0.8, 0.8, 0.5, 0.5], np.float32)
    targets = []
    for _ in range(reference["batch"]):
        occupied: set[tuple[int, int]] = set()
        rows: list[list[float]] = []
        for *box_values, kind in stream.take(3 if on_grid else 4, 5):
            box = low + span * np.array(box_values, np.float32)
            cell = (int(box[0] * reference["side"]), int(box[1] * reference["side"])) if on_grid else (len(rows), 0)
            if cell not in occupied:
                occupied.add(cell)
                rows.append([*box, int(kind * np.float32(reference["classes"]))])
        targets.append(torch.tensor(np.array(rows, np.float32)))
    return targets


def mini_batches(reference: TrainingReference) -> list[list[tuple[Tensor, Tensor | list[Tensor]]]]:
    """The mini-batches (images, targets) of every iteration."""
    images = _Stream(reference["seed"] ^ reference_values.INPUT_STREAM)
    labels = _Stream(reference["seed"] ^ reference_values.TARGET_STREAM)
    iterations = []
    for _ in reference["iterations"]:
        pairs: list[tuple[Tensor, Tensor | list[Tensor]]] = []
        for _ in range(reference["subdivisions"]):
            x = torch.from_numpy(images.take(reference["batch"], *reference["inputs"][:3]))
            classifier = reference["kind"] == "classifier"
            pairs.append((x, (_class_targets if classifier else _box_targets)(labels, reference)))
        iterations.append(pairs)
    return iterations


def _floats(data: bytes) -> NDArray[np.float64]:
    return np.frombuffer(data[len(reference_values.HEADER) :], "<f4").astype(np.float64)


def train(folder: str, name: str, scratch: Path) -> Difference:
    """Train a network for as many iterations as C did, and compare costs, learning rates and the last weights."""
    reference = load(folder, name)
    expected = _floats(gzip.decompress((_VALUES / folder / f"{name}.final.weights.gz").read_bytes()))
    reference_values.write_chunks(reference["chunks"], reference["seed"], scratch / "first.weights")
    first = _floats((scratch / "first.weights").read_bytes())
    network = darknet_py.load(cfg_path(folder, name), scratch / "first.weights")
    trainer = darknet_py.Trainer(network, clear=True, gradients=FOLDERS[folder])
    cost_error = lr_error = 0.0
    for pairs, iteration in zip(mini_batches(reference), reference["iterations"], strict=True):
        cost, lr = trainer.step(pairs), trainer.lr
        expected_cost = sum(part["cost"] for part in iteration["subs"])
        cost_error = max(cost_error, abs(cost - expected_cost) / max(abs(expected_cost), 1e-6))
        lr_error = max(lr_error, abs(lr - iteration["rate"]) / max(iteration["rate"], 1e-12))
    darknet_py.save_weights(network, scratch / "last.weights")
    last = _floats((scratch / "last.weights").read_bytes())
    moved = np.linalg.norm(expected - first)
    largest, array, end = 0.0, "", 0
    for layer, kind, count, _, _ in reference["chunks"]:
        part = slice(end, end + count)
        end += count
        of_array = np.linalg.norm(last[part] - expected[part])
        if of_array > largest:
            largest, array = float(of_array), f"layer {layer} {kind}"
    return Difference(float(np.linalg.norm(last - expected) / moved), array, cost_error, lr_error)
