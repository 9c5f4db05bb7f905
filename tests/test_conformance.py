"""The reference folder beside the checkout: every official network and every rare option, layer by layer.

What ``../shared/conformance/check.py`` does, without keeping all outputs of a network at once. Networks of more
than a few million floats are ``slow``.
"""

from __future__ import annotations

import filecmp
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import darknet_py
from darknet_py.errors import UnusedOptionWarning
from darknet_py.inference.fused_network import FusedNetwork, optimise
from darknet_py.network import Network
from tests.helpers import paths, reference_values
from tests.helpers.optimised_networks import TOLERANCE, apart, run
from tests.helpers.reference_values import Entry, Reference

FOLDER = paths.CONFORMANCE
LAYER_TOLERANCE = 1e-3  # of the layer's rms
LOOSE_TOLERANCE = 0.2  # signs and stairs: a value within rounding of a step may fall on either side
LOOSE = ("xnor=1", "binary=1", "activation=stair")
BOX_TOLERANCE = 2e-3
FAST = 6_100_000  # floats


def cases() -> list[object]:
    """Each network, marked slow by what its reference says of its floats."""
    found: list[object] = []
    for path in sorted(FOLDER.glob("alexeyab/*.cfg")) + sorted(FOLDER.glob("rare/*.cfg")):
        count = reference_values.floats(golden(path)) if path.stat().st_size < 4000 else FAST + 1
        marks = [pytest.mark.slow] if count > FAST else []
        found.append(pytest.param(path, id=f"{path.parent.name}/{path.stem}", marks=marks))
    missing = pytest.mark.skip(reason=f"{FOLDER} is not beside this checkout")
    return found or [pytest.param(FOLDER, id="none", marks=missing)]


def golden(path: Path) -> Reference:
    return reference_values.load(path.with_name(f"{path.stem}.json.gz"))


def built(path: Path, expected: Reference, folder: Path) -> Network:
    """The network of a cfg with its reference's weights, which are also written again and compared."""
    reference_values.write_weights(expected, folder / "a.weights")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)
        net = darknet_py.load(path, folder / "a.weights")
    darknet_py.save_weights(net, folder / "b.weights")
    assert filecmp.cmp(folder / "a.weights", folder / "b.weights", shallow=False)
    for name in ("a.weights", "b.weights"):
        (folder / name).unlink()
    return net


def wrong_layers(
    network: Network | FusedNetwork, modules: Mapping[int, nn.Module], expected: Reference, tolerance: float
) -> list[str]:
    """Layers whose output is not C's, ``modules`` being those that give one."""
    wrong: list[str] = []
    step = 0

    def watch(entry: Entry, number: int) -> torch.utils.hooks.RemovableHandle:
        def hook(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            error = reference_values.layer_error(entry, output[0].numpy())
            if number == step and not error <= tolerance:
                wrong.append(f"pass {number} layer {entry['i']} [{entry['type']}]: off by {error:.1e} of its rms")

        return modules[entry["i"]].register_forward_hook(hook)

    handles = [
        watch(entry, number)
        for number, of_step in enumerate(expected["steps"])
        for entry in of_step["layers"]
        if entry["type"] != "cost" and entry["i"] in modules  # C leaves a cost untouched without a target
    ]
    network.reset()
    with torch.inference_mode():
        for step in range(len(expected["steps"])):
            network(torch.from_numpy(reference_values.input_array(expected, step)))
    for handle in handles:
        handle.remove()
    return wrong


def found(net: Network, expected: Reference, nms: float, engine: str = "plain") -> NDArray[np.float64]:
    """Rows [class, probability, x, y, w, h]."""
    net.reset()
    detector = darknet_py.Detector(net, threshold=expected["steps"][0]["thresh"], nms=nms, engine=engine)
    boxes = detector.batch(torch.from_numpy(reference_values.input_array(expected)))[0].boxes
    return torch.cat((boxes.cls[:, None], boxes.conf[:, None], boxes.xywhn), dim=1).double().numpy()


def lost(net: Network, expected: Reference, engine: str) -> list[list[float]]:
    """Boxes of the reference that we do not find."""
    step = expected["steps"][0]
    if "nms" not in step or expected["oracle"] != "alexeyab":
        return []
    ours, gone = found(net, expected, 0.45, engine), []
    for row in np.array(step["nms"]["dets"], dtype=np.float64).reshape(-1, 7):
        near = np.abs(ours[:, 2:] - row[3:]).max(axis=1, initial=0) < BOX_TOLERANCE * max(1, np.abs(row[3:]).max())
        twins = (ours[:, 0] == row[0]) & (np.abs(ours[:, 1] - row[1]) < BOX_TOLERANCE) & near
        if row[1] > step["thresh"] + 1e-3 and not twins.any():
            gone.append(row.tolist())
    return gone


@pytest.mark.parametrize("path", cases())
def test_network(path: Path, tmp_path: Path) -> None:
    """The layers one by one, and the optimised network: every output that C has, and the same boxes."""
    paths.require_files_of(path)
    expected, text = golden(path), path.read_text()
    net = built(path, expected, tmp_path)
    loose = any(word in text for word in LOOSE)
    tolerance = LOOSE_TOLERANCE if loose else LAYER_TOLERANCE
    assert wrong_layers(net, dict(enumerate(net.layers)), expected, tolerance) == []
    assert lost(net, expected, "plain") == []
    fast = optimise(net)
    assert wrong_layers(fast, {step.output: step.module for step in fast.plan}, expected, tolerance) == []
    assert lost(net, expected, "torch") == []
    x = torch.from_numpy(reference_values.input_array(expected))
    assert loose or apart(run(net, x), run(fast, x)) < TOLERANCE
