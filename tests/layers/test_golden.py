"""The small networks of golden/cases against C Darknet: every layer and every box (golden/README.md)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import darknet_py
from darknet_py.errors import UnusedOptionWarning
from darknet_py.network import Network
from darknet_py.results.rows import Boxes as Detections
from tests.helpers import paths, reference_values
from tests.helpers.reference_values import Boxes, Reference

CASES = paths.GOLDEN / "cases"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in CASES.glob("*.json.gz"))
HEADS = [name for name in NAMES if "boxes" in reference_values.load(CASES / f"{name}.json.gz")["steps"][0]]
LAYER_TOLERANCE = 1e-4  # of the layer's rms
SIGN_TOLERANCE = 0.2  # xnor: a value within rounding of 0 may take either sign
BOX_TOLERANCE = 1e-3
NMS = 0.45  # IoU threshold of the references' NMS


def network(name: str, golden: Reference, weights: Path) -> Network:
    reference_values.write_weights(golden, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)  # grammar.cfg has text without effect
        return darknet_py.load(CASES / f"{name}.cfg", weights, dialect=golden["oracle"])


def outputs(net: Network, x: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    """The output of every layer for ``x``, by index."""
    seen: dict[int, NDArray[np.float32]] = {}

    def keep(index: int, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[index] = output[0].numpy().copy()

        return layer.register_forward_hook(hook)

    handles = [keep(index, layer) for index, layer in enumerate(net.layers)]
    with torch.inference_mode():
        net(torch.from_numpy(x))
    for handle in handles:
        handle.remove()
    return seen


def missing_boxes(expected: Boxes, preds: Detections) -> list[list[float]]:
    """C's boxes without a detection of the same class, probability and position."""
    xywh, conf, cls = (value.numpy() for value in (preds.xywhn, preds.conf, preds.cls))
    missing = []
    for row in expected["dets"]:
        number, probability, _objectness, *box = row
        distance = np.abs(xywh - box).max(axis=1, initial=0) / max(1.0, *map(abs, box))
        if not ((cls == number) & (np.abs(conf - probability) < BOX_TOLERANCE) & (distance < BOX_TOLERANCE)).any():
            missing.append(row)
    return missing


def test_there_are_cases_of_both_dialects() -> None:
    oracles = [reference_values.load(CASES / f"{name}.json.gz")["oracle"] for name in NAMES]
    assert oracles.count("alexeyab") >= 40
    assert oracles.count("pjreddie") >= 12


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_are_byte_identical_to_the_loaded_file(name: str, tmp_path: Path) -> None:
    golden = reference_values.load(CASES / f"{name}.json.gz")
    net = network(name, golden, tmp_path / "a.weights")
    darknet_py.save_weights(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == (tmp_path / "a.weights").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_layers_give_the_outputs_of_c(name: str, tmp_path: Path) -> None:
    golden = reference_values.load(CASES / f"{name}.json.gz")
    net = network(name, golden, tmp_path / "a.weights")
    tolerance = SIGN_TOLERANCE if "xnor=1" in (CASES / f"{name}.cfg").read_text() else LAYER_TOLERANCE
    wrong = []
    for number, step in enumerate(golden["steps"]):
        seen = outputs(net, reference_values.input_array(golden, number))
        for entry in step["layers"]:
            if entry["type"] == "cost":  # C computes no cost without a target
                continue
            error = reference_values.layer_error(entry, seen[entry["i"]])
            if not error <= tolerance:
                wrong.append(f"pass {number} layer {entry['i']} [{entry['type']}]: off by {error:.1e} of its rms")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("nms", [0.0, NMS])
def test_boxes_are_those_of_c(name: str, nms: float, tmp_path: Path) -> None:
    golden = reference_values.load(CASES / f"{name}.json.gz")
    net = network(name, golden, tmp_path / "a.weights")
    step = golden["steps"][0]
    expected = step["nms" if nms else "boxes"]
    class_map = "map=" in (CASES / f"{name}.cfg").read_text()
    detector = darknet_py.Detector(net, threshold=step["thresh"], nms=nms, class_map=class_map)
    boxes = detector.batch(torch.from_numpy(reference_values.input_array(golden)))[0].boxes
    assert not missing_boxes(expected, boxes)
    assert len(boxes.cls) == expected["pairs"]
