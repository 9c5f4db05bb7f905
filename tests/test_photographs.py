"""Official weights on photographs give C Darknet's boxes.

``golden/photographs.json`` is the output of ``detector test -thresh 0.25`` on pixels decoded by Pillow.
"""

from __future__ import annotations

import json
import pathlib
from typing import cast

import pytest
import torch

import darknet_py
from darknet_py.detector import Detector
from darknet_py.errors import DarknetError
from darknet_py.hub import catalogue
from darknet_py.hub.pypi import Package
from darknet_py.network import Network
from tests.helpers import paths

PHOTOGRAPHS = json.loads((pathlib.Path(__file__).parent / "golden" / "photographs.json").read_text())
TOLERANCE = 2e-3  # of a probability, and relative to a side of the image


@pytest.fixture(scope="module", params=["yolov4-tiny", "yolov3-tiny"])
def official(request: pytest.FixtureRequest) -> Network:
    weights = cast(pathlib.Path, request.getfixturevalue(request.param.replace("-", "_") + "_weights"))
    net = darknet_py.load(catalogue.cfg_path(request.param), weights)
    net.official = request.param
    return net


def photograph(name: str) -> pathlib.Path:
    """A photograph of the reference folder, or of the package on the index that has the official weights."""
    near = paths.SHARED / "data" / "photographs" / f"{name}.jpg"
    if near.is_file():
        return near
    try:
        entry = catalogue.find(f"sample:{name}")
    except DarknetError:
        pytest.skip(paths.NO_SHARED)
    if not any(isinstance(source, Package) for source in entry.sources):
        pytest.skip(f"{name} is on no package index")
    try:
        return catalogue.fetch(entry, progress=False)
    except DarknetError as error:
        pytest.skip(f"the image is not available: {error}")


@pytest.mark.parametrize("name", ["bus", "zidane", "dog", "giraffe"])
@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_official_weights_give_darknets_boxes(official: Network, name: str, mode: str) -> None:
    expected = PHOTOGRAPHS[f"{name} {official.official} {mode}"]
    detect = Detector(official, letterbox=mode == "letterbox")
    boxes = detect(photograph(name)).boxes
    preds = torch.cat((boxes.cls[:, None], boxes.conf[:, None], boxes.xywhn), dim=1).tolist()
    for row in expected:
        matches = [pred for pred in preds if all(abs(a - b) < TOLERANCE for a, b in zip(pred, row, strict=True))]
        assert matches or row[1] < 0.25 + TOLERANCE, f"Darknet has {row}"
        preds = [pred for pred in preds if pred not in matches[:1]]
    assert [pred for pred in preds if pred[1] > 0.25 + TOLERANCE] == [], "boxes that Darknet does not have"
