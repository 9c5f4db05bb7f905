"""The boxes of an engine compared with C Darknet's: of ../shared/conformance, and of the trained networks there."""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

import darknet_py
from darknet_py.errors import UnusedOptionWarning
from darknet_py.network import Network
from darknet_py.results.results import Results
from tests.helpers import paths, reference_values
from tests.helpers.reference_values import Reference

TOLERANCE = 2e-3  # of a score, and of a box relative to the image
IMAGES = 6  # of each trained network
TRAINED = paths.SHARED / "data" / "networks"
"""Networks that other people trained, and boxes.json with C's boxes of them."""

_MARGIN = 1e-3  # scores this close to the threshold may be on either side of it
_HEAD = re.compile(r"^\[(yolo|Gaussian_yolo|region|detection)\]", re.MULTILINE)
Rows = NDArray[np.float64]  # [n, 6]: class, score, x, y, w, h relative to the image


class Comparison(NamedTuple):
    """An engine's boxes and C's.

    Attributes:
        boxes: number of C's boxes that were compared.
        largest: largest difference of a matching box: of its score, or of a coordinate relative to the image.
        missing: C's boxes [class, score, x, y, w, h] without a match.
        unexpected: boxes of the engine that C does not have.
    """

    boxes: int
    largest: float
    missing: list[list[float]]
    unexpected: list[list[float]]

    @property
    def wrong(self) -> list[list[float]]:
        """All boxes that are not in both."""
        return [*self.missing, *self.unexpected]


def detectors() -> list[Path]:
    """The cfgs with boxes among AlexeyAB's; without ../shared all of them, to be skipped one by one."""
    return [cfg for cfg in paths.official_cfgs() if not cfg.exists() or _HEAD.search(cfg.read_text(errors="replace"))]


def load_reference(cfg: Path) -> Reference:
    """Read the reference beside a cfg."""
    return reference_values.load(cfg.with_name(f"{cfg.stem}.json.gz"))


def load_network(cfg: Path, expected: Reference, weights: Path, **options: Any) -> Network:
    """Load a network with the reference's weights, which are written to the file ``weights``."""
    reference_values.write_weights(expected, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)
        return darknet_py.load(cfg, weights, **options)


@contextmanager
def temporary_cache() -> Iterator[None]:
    """Keep converted networks, of up to 1 GB, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, DARKNET_PY_HOME=folder):
        yield


def compare(net: Network, expected: Reference, engine: str) -> Comparison:
    """Compare the boxes after NMS with those of a reference, which has the 60 most probable at most."""
    step = expected["steps"][0]
    net.reset()
    detector = darknet_py.Detector(net, threshold=step["thresh"], nms=0.45, engine=engine)
    preds = rows_of(detector.batch(torch.from_numpy(reference_values.input_array(expected)))[0])
    rows = np.array(step["nms"]["dets"], dtype=np.float64).reshape(-1, 7)[:, [0, 1, 3, 4, 5, 6]]
    limit = step["thresh"] + min(_MARGIN, (1 - step["thresh"]) / 2)  # a score can exceed it
    # Random weights give boxes that are larger than the image: these are compared relative to themselves.
    result = match(rows[rows[:, 1] > limit], preds, scaled=True)
    # C changes the probabilities of a class tree in place (docs/oddities.md): the reference is that of a repeated
    # decoding, in which classes with a parent are gone.
    has_tree = any(getattr(head, "tree", None) is not None for head in net.heads)
    if has_tree or step["nms"]["alive"] > len(rows):
        return result
    # C's list is complete. It has one class of each box, so that only places are compared.
    scale = np.abs(preds[:, 2:]).max(axis=1, initial=1)
    nearest = np.abs(preds[:, None, 2:] - rows[None, :, 2:]).max(axis=2).min(axis=1, initial=np.inf)
    return result._replace(unexpected=preds[(preds[:, 1] > limit) & (nearest >= TOLERANCE * scale)].tolist())


def compare_trained(name: str, entry: dict[str, Any], engine: str) -> Comparison:
    """Compare the boxes of a network of boxes.json, of its first ``IMAGES`` images."""
    net = darknet_py.load(TRAINED / f"{name}.cfg", TRAINED / f"{name}.weights")
    detector = darknet_py.Detector(net, threshold=0.15, letterbox=False, engine=engine)
    parts = []
    for image, boxes in list(entry["boxes"].items())[:IMAGES]:
        rows = as_rows(boxes)
        preds = rows_of(detector(TRAINED.parent / image))
        parts.append(match(rows, preds)._replace(unexpected=match(preds, rows).missing))
    return Comparison(
        sum(part.boxes for part in parts),
        max(part.largest for part in parts),
        [row for part in parts for row in part.missing],
        [row for part in parts for row in part.unexpected],
    )


def trained_networks() -> dict[str, dict[str, Any]]:
    """Read boxes.json: C's boxes by network and image."""
    networks: dict[str, dict[str, Any]] = json.loads((TRAINED / "boxes.json").read_text(encoding="utf-8"))
    return networks


def as_rows(boxes: Sequence[Sequence[float]]) -> Rows:
    """Return boxes as an array, also if there are none."""
    return np.array(boxes, dtype=np.float64).reshape(-1, 6)


def rows_of(results: Results) -> Rows:
    """Return detections as rows [class, score, x, y, w, h]."""
    boxes = results.boxes
    return torch.cat((boxes.cls[:, None], boxes.conf[:, None], boxes.xywhn), dim=1).double().numpy()


def match(rows: Rows, preds: Rows, *, scaled: bool = False) -> Comparison:
    """Find the nearest of ``preds`` for each of ``rows``; ``scaled``: relative to boxes that are larger than 1."""
    largest, missing = 0.0, []
    for row in rows:
        same = preds[preds[:, 0] == row[0]]
        scale = max(1.0, np.abs(row[2:]).max()) if scaled else 1.0
        boxes = np.abs(same[:, 2:] - row[2:]).max(axis=1, initial=0) / scale
        difference = float(np.maximum(np.abs(same[:, 1] - row[1]), boxes).min(initial=np.inf))
        if difference < TOLERANCE:
            largest = max(largest, difference)
        else:
            missing.append(row.tolist())
    return Comparison(len(rows), largest, missing, [])
