"""Options of ``[conv_lstm]`` that C's CPU code does not support, against ``forward_conv_lstm_layer_gpu`` in torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py.layers import Layer, Shape
from tests.helpers import random_networks

X = Shape(4, 5, 6)


def make_layer(**keys: object) -> Layer:
    return random_networks.layer(
        "conv_lstm", {"output": "4", "size": "3", "pad": "1"} | {k: str(v) for k, v in keys.items()}, X
    )


def conv(layer: Layer, name: str, x: Tensor) -> Tensor:
    state = layer.state_dict()
    return F.conv2d(x, state[f"{name}.weights"], state[f"{name}.biases"], padding=1)


def test_bottleneck() -> None:
    layer = make_layer(bottleneck=1, lstm_activation="leaky", shortcut=1)
    h = c = torch.zeros(2, *X)
    with torch.no_grad():
        for frame in range(3):
            x = random_networks.random(2, *X, seed=frame)
            combined = F.leaky_relu(conv(layer, "wf", torch.cat((h, x), dim=1)), 0.1)
            f, i, o = (torch.sigmoid(conv(layer, gate, combined)) for gate in ("uf", "ui", "uo"))
            c = f * c + i * F.leaky_relu(conv(layer, "ug", combined), 0.1)
            h = o * F.leaky_relu(c, 0.1)
            expected = h.clone()
            expected[:, :2] += combined[:, :2]
            torch.testing.assert_close(layer(x), expected)


def test_peepholes_read_the_old_cell_and_the_output_gate_the_new_one() -> None:
    layer = make_layer(peephole=1)
    h = c = torch.zeros(1, *X)
    with torch.no_grad():
        for frame in range(3):
            x = random_networks.random(1, *X, seed=frame)
            both = {g: conv(layer, f"w{g}", h) + conv(layer, f"u{g}", x) for g in "figo"}
            f = torch.sigmoid(both["f"] + conv(layer, "vf", c))
            i = torch.sigmoid(both["i"] + conv(layer, "vi", c))
            c = f * c + i * both["g"].tanh()
            h = torch.sigmoid(both["o"] + conv(layer, "vo", c)) * c.tanh()
            torch.testing.assert_close(layer(x), h)


@pytest.mark.parametrize(("constrain", "expected"), [(1, 1.0), (3, 3.0), (0, 24.0), (-1, 24.0)])
def test_the_cell_is_limited_after_the_output_is_computed(constrain: int, expected: float) -> None:
    layer = make_layer(lstm_activation="linear", state_constrain=constrain)
    with torch.no_grad():
        for name, tensor in layer.state_dict().items():
            tensor.fill_({"ug.biases": 8.0, "uf.biases": 99.0, "ui.biases": 99.0, "uo.biases": 99.0}.get(name, 0.0))
        outputs = [layer(torch.zeros(1, *X)).max().item() for _ in range(3)]
    assert layer.state[1].max() == pytest.approx(expected)  # type: ignore[index]
    limit = constrain if constrain > 0 else 99
    assert outputs == pytest.approx([8, 8 + min(8, limit), 8 + min(16, limit)])


def test_a_bottleneck_needs_as_many_input_as_output_channels() -> None:
    with pytest.raises(ValueError, match="bottleneck: expected output=5 input channels, got 4"):
        make_layer(bottleneck=1, output=5)
