"""State dicts of other PyTorch ports, matched to the layers by the order of their tensors."""

from __future__ import annotations

import pathlib
import re

import pytest
import torch
from torch import nn

import darknet_py
from darknet_py.conversion.checkpoints import convert
from darknet_py.errors import WeightsError
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.weights_files import plain_torch_network


def random_plain() -> nn.Sequential:
    net = plain_torch_network()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.manual_seed(len(name))
            tensor.uniform_(0.5, 1.5)
    return net


@pytest.mark.parametrize("wrapped", [False, True])
def test_by_order_loads_a_sequential(head: Network, wrapped: bool) -> None:
    port = random_plain()
    state = port.state_dict()
    torch.save({"model": state, "epoch": 3} if wrapped else state, "port.pt")
    # [shortcut] from=-1 adds layer 1 to itself.
    net = convert("port.pt", "b.weights", cfg="head.cfg", by_order=True)
    x = torch.rand(2, 3, 32, 32)
    expected = port[6](2 * port[:6](x))
    with torch.no_grad():
        raw = x
        for layer in list(net)[:2]:
            raw = layer(raw)
        assert torch.allclose(net[3](raw + raw), expected, atol=1e-5)
    assert darknet_py.load("head.cfg", "b.weights").state_dict().keys() == head.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("6.bias"), "ends before layer 3 [conv]: 11 tensors in the file, expected 12"),
        (
            lambda s: s.update(extra=torch.zeros(3)),
            "too many tensors, first extra: 13 tensors in the file",
        ),
        (
            lambda s: s.update({"0.weight": torch.zeros(8, 3, 5, 5)}),
            "layer 0 [conv]: weights: expected (8, 3, 3, 3), found 0.weight (8, 3, 5, 5)",
        ),
        (lambda s: s.pop("1.bias"), "layer 0 [conv]: expected biases (8,), scales (8,)"),
    ],
)
def test_by_order_reports_what_does_not_fit(head: Network, change: object, message: str) -> None:
    state = dict(plain_torch_network().state_dict())
    change(state)  # type: ignore[operator]
    torch.save(state, "port.pt")
    with pytest.raises(WeightsError, match=re.escape(message)):
        convert("port.pt", "b.weights", cfg="head.cfg", by_order=True)
    assert not pathlib.Path("b.weights").exists()


# All layers have the same shapes.
EQUAL = "[net]\nwidth=4\nheight=4\nchannels=4\n" + 12 * "[conv]\nfilters=4\nactivation=linear\n"


@pytest.mark.parametrize("name", ["m.{}.{}", "layer{}.conv.{}", "backbone.stage1.block{}.0.{}"])
def test_numbers_in_names_of_safetensors_are_sorted_as_numbers(name: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra safetensors is not installed")
    pathlib.Path("equal.cfg").write_text(EQUAL)
    net = random_networks.randomise(darknet_py.load("equal.cfg"))
    state = {
        name.format(index, key): tensor.clone()
        for index, layer in enumerate(net)
        for (_, tensor), key in zip(layer.stored(), ("bias", "weight"), strict=True)
    }
    safetensors.save_file(state, "port.safetensors")
    loaded = convert("port.safetensors", "x.weights", cfg="equal.cfg", by_order=True)
    for key, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


def test_names_of_safetensors_that_give_no_order_are_refused() -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra safetensors is not installed")
    pathlib.Path("equal.cfg").write_text(EQUAL)
    parts = [f"{part}.{index}.{key}" for part in ("stem", "body") for index in range(6) for key in ("weight", "bias")]
    state = {name: torch.ones(4, 4, 1, 1) if name.endswith("weight") else torch.ones(4) for name in parts}
    safetensors.save_file(state, "port.safetensors")
    with pytest.raises(WeightsError, match=r"number the layers: body.5.weight, stem.0.bias: expected a .pt file"):
        convert("port.safetensors", "x.weights", cfg="equal.cfg", by_order=True)
    torch.save(state, "port.pt")  # which keeps the order
    convert("port.pt", "x.weights", cfg="equal.cfg", by_order=True)
