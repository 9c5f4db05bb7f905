"""Every engine finds C's boxes with networks that other people trained; they are in ../shared."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py.inference import engines

pytestmark = pytest.mark.slow
_IMAGES = 6  # of each network
_TOLERANCE = 2e-3  # of score and box, relative to the image


def distance(row: list[float], boxes: list[list[float]]) -> float:
    """Largest difference of a row (class, score, x, y, w, h) from the nearest box of its class."""
    differences = (
        max(abs(a - b) for a, b in zip(row[1:], box[1:], strict=True)) for box in boxes if int(box[0]) == int(row[0])
    )
    return min(differences, default=float("inf"))


@pytest.mark.parametrize("engine", ["torch", "graph", "openvino", "onnxruntime", "ncnn"])
def test_the_boxes_are_those_of_c(engine: str, shared: pathlib.Path) -> None:
    if not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    folder = shared / "data" / "networks"
    networks: dict[str, dict[str, Any]] = json.loads((folder / "boxes.json").read_text())
    count = 0
    for name, entry in networks.items():
        net = darknet_py.load(folder / f"{name}.cfg", folder / f"{name}.weights")
        detector = darknet_py.Detector(net, threshold=0.15, letterbox=False, engine=engine)
        for image, expected in list(entry["boxes"].items())[:_IMAGES]:
            found = detector(folder.parent / image).boxes
            rows = torch.cat((found.cls[:, None].float(), found.conf[:, None], found.xywhn), dim=1).tolist()
            assert len(rows) == len(expected), (name, image)
            assert max((distance(row, rows) for row in expected), default=0.0) < _TOLERANCE, (name, image)
            count += len(rows)
    assert count > 100
