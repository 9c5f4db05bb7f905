"""Networks of torchvision, timm and mmdetection, against values of these libraries (tools/make_backbones_golden.py)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py import Network, cfg, cli
from darknet_py.conversion import library_networks
from darknet_py.conversion.state_dict_names import fill_by_name, library_state_dict
from tests.helpers import paths
from tools.make_backbones_golden import NETWORKS, TARGET, fill, image, kept, preprocess

QUICK = ("torchvision/densenet121", "timm/cspresnext50", "mmdetection/cspdarknet")
OUTPUTS = {"mmdetection/cspdarknet": (50, 83, 103)}  # layers; of the others the one before the softmax

each_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS]
)


def library_state(name: str) -> dict[str, Tensor]:
    """A state dict with the library's names and shapes, and the values of ``fill``."""
    with np.load(TARGET) as golden:
        names, shapes = golden[f"{name}/names"].tolist(), golden[f"{name}/shapes"].tolist()
    state = {
        one: torch.tensor(0) if one.endswith("num_batches_tracked") else torch.empty([int(n) for n in shape.split()])
        for one, shape in zip(names, shapes, strict=True)
    }
    fill(state)
    return state


def without_counts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ``find_state_dict`` returns of a file."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def build(name: str, **options: Any) -> Network:
    return Network(cfg.load(paths.CFGS / f"{name}.cfg"), **options)


def test_every_network_is_tested() -> None:
    assert set(library_networks.NAMES) == set(NETWORKS)
    cfgs = {path.relative_to(paths.CFGS).with_suffix("").as_posix() for path in paths.CFGS.rglob("*.cfg")}
    libraries = {name.partition("/")[0] for name in NETWORKS}
    assert {name for name in cfgs if name.partition("/")[0] in libraries} == set(NETWORKS)


@each_network
def test_outputs_and_names_are_the_librarys(name: str) -> None:
    state = library_state(name)
    side = NETWORKS[name]
    network = fill_by_name(build(name, size=(side, side)), without_counts(state), library_networks.find(name), "a.pth")
    outputs = network.eval().features(image(side), OUTPUTS.get(name, (len(network.layers) - 2,)))
    with np.load(TARGET) as golden:
        for number, output in enumerate(outputs):
            expected = torch.from_numpy(golden[f"{name}/output{number}"])
            assert float((kept(output.detach()) - expected).abs().max() / float(golden[f"{name}/rms{number}"])) < 1e-4
    back = library_state_dict(network, library_networks.find(name))
    assert set(back) == set(state)
    tolerance = 1e-7 if name.startswith("mmdetection/") else 0.0  # of a sum and a difference with its epsilon
    for key, tensor in state.items():
        assert back[key].dtype == tensor.dtype
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=tolerance)


def test_layer_0_preprocesses_images_as_the_library() -> None:
    x = image(8)
    for name in ("torchvision/resnet50", "mmdetection/cspdarknet"):
        weights, biases = (torch.tensor(values) for values in library_networks.find(name).images)
        y = F.conv2d(x, weights.view(3, 3, 1, 1), biases)
        torch.testing.assert_close(y, preprocess(name, x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_cfg_of_a_name_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    name = "torchvision/densenet121"
    state = library_state(name)
    torch.save(state, "a.pth")
    assert cli.main(["convert", "a.pth", "a.weights", "--from-library", name]) == 0
    assert cli.main(["convert", "a.weights", "b.pth", "--to-library", name]) == 0
    assert capsys.readouterr().out.startswith("a.weights: 310 layers, seen 0, 32261092 bytes\nb.pth: 310 layers, ")
    back = torch.load("b.pth")
    assert set(back) == set(state)
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())


def test_published_densenets_have_older_names() -> None:
    name = "torchvision/densenet121"
    names = list(library_state(name))
    older = [re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key) for key in names]
    assert sum(key not in names for key in older) == 58 * 2 * 6
    assert [library_networks.find(name).current_name(key) for key in older] == names
