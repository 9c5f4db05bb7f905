"""Weights, images and targets of the small networks that C Darknet trained (golden/training/README.md).

They are drawn from numpy's RandomState, whose streams are stable across versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import darknet_py
from darknet_py.network import Network
from tests.helpers import paths

FOLDER = paths.GOLDEN / "training"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.cfg")))
ITERATIONS = 5
_LIMITS = {"scales": (0.8, 1.2), "rolling_mean": (-0.1, 0.1), "rolling_variance": (0.8, 1.2), "biases": (-0.1, 0.1)}


def network(name: str) -> Network:
    """Load a network with the weights that training starts from."""
    net = darknet_py.load(FOLDER / f"{name}.cfg")
    rng = np.random.RandomState(len(name))
    with torch.no_grad():
        for layer in net:
            for array, tensor in layer.stored():
                limit = float(np.sqrt(3.0 / max(tensor[0].numel(), 1)))
                low, high = _LIMITS.get(array.rpartition(".")[2], (-limit, limit))
                values = rng.uniform(low, high, tuple(tensor.shape)).astype(np.float32)
                tensor.copy_(torch.from_numpy(values))
    return net


def _boxes(rng: np.random.RandomState, count: int, classes: int) -> NDArray[np.float32]:
    """Draw targets, float [count, 5], (cx, cy, w, h, class); the first three are in one cell."""
    centres = rng.uniform(0.05, 0.95, (count, 2))
    centres[1:3] = centres[0] + 0.005
    sizes = rng.uniform(0.1, 0.7, (count, 2))
    return np.column_stack((centres, sizes, rng.randint(0, classes, count))).astype(np.float32)


def mini_batches(name: str, net: Network) -> list[list[tuple[Tensor, Tensor | Sequence[Tensor]]]]:
    """The mini-batches (images, targets) of every iteration."""
    rng = np.random.RandomState(100 + len(name))
    options = net.options
    rows = options.batch // options.subdivisions * options.time_steps
    iterations = []
    for _ in range(ITERATIONS):
        pairs: list[tuple[Tensor, Tensor | Sequence[Tensor]]] = []
        for _ in range(options.subdivisions):
            x = torch.from_numpy(rng.uniform(0, 1, (rows, *net.shape)).astype(np.float32))
            if net.heads:
                counts = rng.randint(0, 5, rows) if name != "cells" else rng.randint(1, 3, rows)
                boxes = [_boxes(rng, count + 3, net.heads[0].classes) for count in counts]
                pairs.append((x, [torch.from_numpy(target) for target in boxes]))
            else:
                hits = np.eye(6, dtype=np.float32)[rng.randint(0, 6, rows)]
                pairs.append((x, torch.from_numpy(hits)))
        iterations.append(pairs)
    return iterations
