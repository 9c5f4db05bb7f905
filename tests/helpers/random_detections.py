"""Build data sets and detections from rows, or random ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darknet_py.data.dataset import Dataset, Sample
from darknet_py.evaluation.detections import Detections

Row = tuple[int, int, float, tuple[float, float, float, float]]  # image, class, confidence, box
SIZE = (200, 100)


def make_detections(rows: Sequence[Row], images: int) -> Detections:
    rows = sorted(rows, key=lambda row: row[0])
    return Detections(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[1] for row in rows], np.int64),
        np.tile(np.array(SIZE, np.int64), (images, 1)),
    )


def make_dataset(
    targets: Sequence[Sequence[Sequence[float]]], ignored: Sequence[Sequence[Sequence[float]]] = ()
) -> Dataset:
    ignored_parts = ignored or [[] for _ in targets]
    samples = []
    for n, parts in enumerate(zip(targets, ignored_parts, strict=True)):
        counted, ignored_rows = (np.array(part, np.float32).reshape(-1, 5) for part in parts)
        samples.append(Sample(f"{n + 1}.jpg", counted, ignored_rows))
    return Dataset(samples, ("a", "b", "c"))


def random_dataset(seed: int) -> tuple[Dataset, Detections]:
    """Random targets far apart, each with at most one detection nearby, so that all matching rules agree."""
    rng = np.random.default_rng(seed)
    targets: list[list[list[float]]] = []
    rows: list[Row] = []
    for image in range(12):
        targets.append([])
        for x, y in np.stack(np.meshgrid((0.2, 0.5, 0.8), (0.25, 0.75)), -1).reshape(-1, 2):
            k, side = int(rng.integers(3)), 0.15 + 0.1 * rng.random()
            if rng.random() < 0.7:
                targets[-1].append([x, y, side, side, k])
            if rng.random() < 0.8:
                dx, dy = 0.06 * rng.random(2)
                rows.append((image, k, float(rng.random()), (x + dx, y + dy, side, side)))
    return make_dataset(targets), make_detections(rows, 12)
