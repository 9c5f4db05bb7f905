"""State dicts of a small network by the names of another library's tensors: what is converted, and what is refused."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import darknet_py as dk
from darknet_py import Network, cfg, cli
from darknet_py.conversion import library_networks
from darknet_py.conversion.library_networks import LibraryNetwork, Modules
from darknet_py.conversion.state_dict_names import fill_by_name, library_state_dict
from darknet_py.errors import ConfigError, WeightsError

TEXT = """[net]
width=8
height=8
channels=3
[convolutional]
filters=3
activation=linear
[convolutional]
filters=4
size=3
pad=1
batch_normalize=1
activation=relu
[batchnorm]
[convolutional]
filters=2
activation=linear
[connected]
output=5
activation=linear
"""
SMALL = LibraryNetwork(
    "some/small",
    (Modules("a.conv", "a.bn"), Modules("", "norm"), Modules("b", has_bias=False), Modules("fc")),
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.5, 0.25, 0.125]),
)


def assert_equal(found: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    assert set(found) == set(state)
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


def without_counts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ``find_state_dict`` returns of a file."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def small_state() -> dict[str, Tensor]:
    norms = {
        f"{name}.{kind}": torch.rand(4) for name in ("a.bn", "norm") for kind in ("weight", "bias", "running_mean")
    }
    return {
        "a.conv.weight": torch.rand(4, 3, 3, 3),
        **norms,
        "a.bn.running_var": torch.rand(4),
        "norm.running_var": torch.rand(4),
        "b.weight": torch.rand(2, 4, 1, 1),
        "fc.weight": torch.rand(5, 128),
        "fc.bias": torch.rand(5),
    }


def small(text: str = TEXT) -> Network:
    return Network(cfg.loads(text, "small.cfg"))


def filled(state: dict[str, Tensor], text: str = TEXT) -> Network:
    return fill_by_name(small(text), state, SMALL, "a.pth")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> str:
    """The small network as one of the library networks, and its cfg in small.cfg."""
    pathlib.Path("small.cfg").write_text(TEXT)
    monkeypatch.setattr(library_networks, "NAMES", (SMALL.name,))
    monkeypatch.setattr(library_networks, "find", {SMALL.name: SMALL}.__getitem__)
    return SMALL.name


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_command_converts_files_in_both_directions(library: str, suffix: str) -> None:
    if suffix == "safetensors":
        safetensors = pytest.importorskip("safetensors.torch", reason="the extra safetensors is not installed")
        save, load = safetensors.save_file, safetensors.load_file
    else:
        save, load = torch.save, torch.load
    state = small_state() | {f"{name}.num_batches_tracked": torch.tensor(0) for name in ("a.bn", "norm")}
    save(state, f"a.{suffix}")
    options = ["--cfg", "small.cfg"]
    assert cli.main(["convert", f"a.{suffix}", "a.weights", "--from-library", library, *options]) == 0
    assert pathlib.Path("a.weights").stat().st_size == 20 + 4 * (12 + 4 * (27 + 4) + 4 * 4 + 10 + 5 * 129)
    assert cli.main(["convert", "a.weights", f"b.{suffix}", "--to-library", library, *options]) == 0
    assert_equal(load(f"b.{suffix}"), state)


def test_a_checkpoint_is_converted_and_a_backbone_cut(library: str) -> None:
    state = small_state()
    torch.save({"state_dict": state, "epoch": 3}, "a.pth")
    dk.convert("a.pth", "own.pt", cfg="small.cfg", from_library=library)
    dk.convert("own.pt", "b.pth", to_library=library)
    assert_equal(without_counts(torch.load("b.pth")), state)
    dk.convert("a.pth", "a.conv.2", cfg="small.cfg", from_library=library, upto=2)
    assert pathlib.Path("a.conv.2").stat().st_size == 20 + 4 * (12 + 4 * (27 + 4))


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.filterwarnings("ignore:a.weights. the weights contain 1 NaN")
def test_weights_with_nan_are_written_where_they_are_allowed(library: str, allowed: bool) -> None:
    state = small_state()
    state["fc.bias"][1] = torch.nan
    torch.save(state, "a.pth")
    dk.convert("a.pth", "a.weights", cfg="small.cfg", from_library=library, allow_non_finite=True)
    if allowed:
        dk.convert("a.weights", "b.pth", cfg="small.cfg", to_library=library, allow_non_finite=True)
        assert torch.load("b.pth")["fc.bias"].isnan().tolist() == [False, True, False, False, False]
    else:
        with pytest.raises(WeightsError, match="NaN"):
            dk.convert("a.weights", "b.pth", cfg="small.cfg", to_library=library)


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_a_prefix_is_removed_and_the_tensors_of_other_modules_are_left_out(prefix: str) -> None:
    state = small_state()
    others = {"neck.weight": torch.rand(2)} if prefix else {}
    network = filled({f"{prefix}{name}": tensor for name, tensor in state.items()} | others)
    assert_equal(without_counts(library_state_dict(network, SMALL)), state)


def test_biases_that_the_library_does_not_have_are_zero() -> None:
    network = filled(small_state())
    assert not dict(network[3].stored())["biases"].any()
    dict(network[3].stored())["biases"].data[1] = 0.1
    with pytest.raises(
        WeightsError, match=r"small.cfg: layer 3 \[convolutional\] biases: expected 0, as some/small has"
    ):
        library_state_dict(network, SMALL)


def test_changed_weights_of_layer_0_are_not_dropped() -> None:
    network = filled(small_state())
    dict(network[0].stored())["weights"].data[0] *= 1.01
    with pytest.raises(WeightsError, match="layer 0: expected the weights that make the images of some/small"):
        library_state_dict(network, SMALL)


def test_the_epsilon_of_the_library_is_added_to_the_variance() -> None:
    state = small_state()
    library = SMALL._replace(epsilon=1e-3)
    network = fill_by_name(small(), state, library, "a.pth").eval()
    x = torch.rand(1, 3, 8, 8)
    y = F.conv2d(x + torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1), state["a.conv.weight"], padding=1)
    mean, variance, weight, bias = (state[f"a.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    y = F.batch_norm(y, mean, variance, weight, bias, eps=1e-3).relu()
    torch.testing.assert_close(network.features(x, [1])[0], y, rtol=1e-5, atol=1e-5)
    back = library_state_dict(network, library)["a.bn.running_var"]
    torch.testing.assert_close(back, state["a.bn.running_var"], rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc.bias"), "a.pth: expected a state dict of some/small, found no tensor fc.bias"),
        (lambda s: s.clear(), "a.pth: expected a state dict of some/small, found no tensor a.bn.bias"),
        (
            lambda s: s.update({"fc.weight": torch.rand(7, 128)}),
            "a.pth: layer 4 [connected] weights: expected (5, 128), found fc.weight (7, 128); for another number "
            "of classes change output= in a copy of the cfg and name it (--cfg)",
        ),
        (
            lambda s: s.update({"b.bias": torch.rand(2)}),
            "a.pth: expected a state dict of some/small, which has no tensor b.bias",
        ),
    ],
)
def test_state_dicts_that_do_not_fit_change_nothing(change: Callable[[dict[str, Tensor]], Any], message: str) -> None:
    state = small_state()
    change(state)
    network = small().initialise()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=re.escape(message)):
        fill_by_name(network, state, SMALL, "a.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("[batchnorm]\n", ""),
            "small.cfg: expected 4 layers with weights after the first, as in some/small, found 3",
        ),
        (
            TEXT.replace("batch_normalize=1\n", ""),
            "small.cfg: layer 1 [convolutional]: expected biases, rolling_mean, rolling_variance, scales, weights, as "
            "in some/small, found biases, weights",
        ),
        (
            TEXT.replace("filters=3", "filters=6"),
            "small.cfg: layer 0: expected a 1x1 convolution of 3 filters, as in some/small.cfg",
        ),
    ],
)
def test_cfgs_of_other_networks_are_refused(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        filled(small_state(), text)


def test_wrong_files_and_names_are_refused() -> None:
    pathlib.Path("a.weights").write_bytes(bytes(20))
    with pytest.raises(
        ConfigError, match="torchvision/resnet: expected a network of another library: torchvision/resnet50"
    ):
        dk.convert("a.pth", "b.weights", from_library="torchvision/resnet")
    with pytest.raises(ConfigError, match=r"a.weights: from_library: expected a .pt, .pth or .safetensors file"):
        dk.convert("a.weights", "b.weights", from_library="torchvision/vgg16")
    for target, upto in (("b.weights", None), ("b.pth", 3)):
        with pytest.raises(WeightsError, match=r"to_library: expected a .pt, .pth or .safetensors file and all layers"):
            dk.convert("a.weights", target, to_library="torchvision/vgg16", upto=upto)
