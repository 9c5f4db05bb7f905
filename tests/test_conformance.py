"""The official networks and the rare options against C Darknet, layer by layer.

``golden/conformance`` contains C's values of the networks in ``cfgs/`` and of small ones with rare options;
``../shared/conformance/alexeyab`` those of AlexeyAB's cfgs, which are not part of this project. Networks of more than a
few million floats are ``slow``.
"""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import darknet_py
from darknet_py.inference.fused_network import FusedNetwork, optimise
from darknet_py.network import Network
from tests.helpers import paths, reference_boxes, reference_values
from tests.helpers.optimised_networks import TOLERANCE, max_relative_error, run
from tests.helpers.reference_values import Entry, Reference

LAYER_TOLERANCE = 1e-3  # of the layer's rms
DISCONTINUOUS_TOLERANCE = 0.2  # rounding may move a value across a step
DISCONTINUOUS = ("xnor=1", "binary=1", "activation=stair")
MAX_FAST = 6_100_000  # floats
VALUES = paths.GOLDEN / "conformance"


class Case(NamedTuple):
    """A cfg and C's values of it: at another size if ``size``, of the first layers if ``layers``."""

    cfg: Path
    values: Path
    size: tuple[int, int] | None = None
    layers: int | None = None


# The values of cspresnext50 are those of a detector with the same 81 first layers.
BACKBONES = {"cspresnext50": ((512, 512), 81)}


def cases() -> list[Any]:
    params = []
    for path in sorted(VALUES.glob("cfgs/*.json.gz")):
        name = path.name.removesuffix(".json.gz")
        case = Case(paths.CFGS / f"{name}.cfg", path, *BACKBONES.get(name, ()))
        params.append(parameter(f"cfgs/{name}", case, reference_values.floats(reference_values.load(path))))
    for path in sorted(VALUES.glob("rare/*.json.gz")):
        name = path.name.removesuffix(".json.gz")
        params.append(parameter(f"rare/{name}", Case(path.with_name(f"{name}.cfg"), path), 0))
    totals: dict[str, Any] = json.loads((paths.GOLDEN / "totals.json").read_text())
    for key, total in totals.items():
        if key.startswith("alexeyab/"):
            path = paths.CONFORMANCE / key
            case = Case(path.with_name(f"{path.name}.cfg"), path.with_name(f"{path.name}.json.gz"))
            params.append(parameter(key, case, total["floats"], paths.needs_shared))
    return params


def parameter(name: str, case: Case, floats: int, *marks: pytest.MarkDecorator) -> Any:
    slow = (pytest.mark.slow,) if floats > MAX_FAST else ()
    return pytest.param(case, id=name, marks=(*marks, *slow))


def load(case: Case, expected: Reference, folder: Path) -> Network:
    """Load the network with the reference's weights, and check that saving them gives the same bytes."""
    net = reference_boxes.load_network(case.cfg, expected, folder / "a.weights", size=case.size, upto=case.layers)
    darknet_py.save_weights(net, folder / "b.weights", upto=case.layers)
    assert filecmp.cmp(folder / "a.weights", folder / "b.weights", shallow=False)
    for name in ("a.weights", "b.weights"):
        (folder / name).unlink()
    return net


def wrong_layers(
    network: Network | FusedNetwork, modules: Mapping[int, nn.Module], expected: Reference, tolerance: float
) -> list[str]:
    """Return the layers of ``modules`` whose output differs from C's."""
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
        for number, step_values in enumerate(expected["steps"])
        for entry in step_values["layers"]
        if entry["type"] != "cost" and entry["i"] in modules  # C computes no cost without a target
    ]
    network.reset()
    with torch.inference_mode():
        for step in range(len(expected["steps"])):
            network(torch.from_numpy(reference_values.input_array(expected, step)))
    for handle in handles:
        handle.remove()
    return wrong


def missing_boxes(net: Network, expected: Reference, engine: str) -> list[list[float]]:
    """Return C's boxes without a matching detection."""
    if "nms" not in expected["steps"][0] or expected["oracle"] != "alexeyab":
        return []
    return reference_boxes.compare(net, expected, engine).missing


@pytest.mark.parametrize("case", cases())
def test_every_layer_and_box_is_that_of_c(case: Case, tmp_path: Path) -> None:
    """Compare the outputs of all layers and the boxes, of the plain and of the fused network."""
    paths.require_files_of(case.cfg)
    expected, text = reference_values.load(case.values), case.cfg.read_text()
    net = load(case, expected, tmp_path)
    is_discontinuous = any(word in text for word in DISCONTINUOUS)
    tolerance = DISCONTINUOUS_TOLERANCE if is_discontinuous else LAYER_TOLERANCE
    assert wrong_layers(net, dict(enumerate(net.layers)), expected, tolerance) == []
    assert missing_boxes(net, expected, "plain") == []
    fused = optimise(net)
    assert wrong_layers(fused, {step.output: step.module for step in fused.plan}, expected, tolerance) == []
    assert missing_boxes(net, expected, "torch") == []
    x = torch.from_numpy(reference_values.input_array(expected))
    assert is_discontinuous or max_relative_error(run(net, x), run(fused, x)) < TOLERANCE


def test_all_networks_of_the_project_have_reference_values() -> None:
    referenced = {path.name.removesuffix(".json.gz") for path in VALUES.glob("cfgs/*.json.gz")}
    own = {path.stem for path in paths.CFGS.glob("*.cfg")}
    # C's numbers of digits are in docs/training.md; tests/test_csp_cfgs.py compares the others with plain torch. Those
    # of the paper's recipe are made of layers with reference values of other cfgs.
    by_torch = {"resnext50", "cspresnet50", "densenet121", "cspdensenet121"}
    assert own - referenced == by_torch | {"digits", "digits-paper", "yolov4-paper"}


@paths.needs_shared
@pytest.mark.parametrize("folder", ["rare", "training", "training_cpu", "training_more"])
def test_copied_values_are_the_shared_ones(folder: str) -> None:
    copied = VALUES / folder
    for path in (paths.CONFORMANCE / folder).iterdir():
        copy = copied / path.name
        if folder == "training_cpu" and path.suffix == ".cfg":
            copy = VALUES / "training" / path.name
        assert copy.read_bytes() == path.read_bytes(), f"copy {path} to {copied} again"
