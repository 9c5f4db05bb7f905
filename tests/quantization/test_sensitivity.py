"""The ranking of layers: rounding as torch and onnxruntime define it, and the search for the fewest layers in float."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from darknet_py.quantization.search import fewest_layers, largest_drop
from darknet_py.quantization.sensitivity import layer_sqnr, round_weights
from tests.helpers import int8_models, random_networks


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_are_rounded_as_torch_does(bits: int) -> None:
    weights = random_networks.random(5, 4, 3, 3)
    limit = 2 ** (bits - 1) - 1
    scale = weights.flatten(1).abs().amax(1) / limit
    expected = torch.fake_quantize_per_channel_affine(
        weights, scale, torch.zeros(5, dtype=torch.int32), 0, -limit, limit
    )
    assert torch.allclose(round_weights(weights, bits), expected, atol=1e-6)


def test_the_ratio_is_that_of_onnxruntime() -> None:
    debug = pytest.importorskip("onnxruntime.quantization.qdq_loss_debug", reason="the extra export is not installed")
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\nsize=3\nactivation=leaky\n"
    text += "[conv]\nfilters=2\nsize=1\nactivation=linear\n"
    network = random_networks.network(text)
    x = random_networks.random(1, 3, 8, 8, low=0)
    found = layer_sqnr(network, [1], [x])[1]
    with torch.no_grad():
        y = network[0](x)
        low, high = min(float(y.min()), 0.0), max(float(y.max()), 0.0)
        scale = (high - low) / 255
        rounded = torch.fake_quantize_per_tensor_affine(y, scale, round(-low / scale), 0, 255)
        expected = network[1](y)
        with_weights = torch.nn.functional.conv2d(
            rounded, round_weights(network[1].get_parameter("weights"), 8), network[1].get_parameter("biases")
        )
    ratio = debug.compute_signal_to_quantization_noice_ratio(expected.numpy(), with_weights.numpy())
    assert found == pytest.approx(float(ratio), abs=0.05)
    assert 20 < found < 80


@pytest.mark.parametrize(("rounds_outputs", "worst"), [(False, {18}), (True, {17, 18})])
def test_a_layer_whose_input_spans_too_much_is_the_first(rounds_outputs: bool, worst: set[int]) -> None:
    network = int8_models.spoilt_digits()
    before = [tensor.clone() for tensor in network.state_dict().values()]
    x = random_networks.random(1, 3, 96, 96, low=0)
    sqnr = layer_sqnr(network, [0, 9, 17, 18, 19], [x], rounds_outputs=rounds_outputs)
    assert set(sorted(sqnr, key=sqnr.__getitem__)[: len(worst)]) == worst
    assert max(sqnr[number] for number in worst) + 6 < min(sqnr[number] for number in sqnr.keys() - worst)
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


@hypothesis.given(st.integers(1, 40), st.data())
def test_the_shortest_beginning_that_is_enough_is_found(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(0, count + 1))
    tried: list[int] = []

    def is_enough(layers: Sequence[int]) -> bool:
        assert list(layers) == list(range(len(layers)))
        tried.append(len(layers))
        return len(layers) >= needed

    ranked: list[int] = []

    def rank() -> Sequence[int]:
        ranked.append(1)
        return range(count)

    found = fewest_layers(rank, is_enough)
    assert found is None if needed > count else found is not None and len(found) == needed
    assert len(ranked) == (needed > 0)
    assert len(set(tried)) == len(tried) <= 2 * count.bit_length() + 2


def test_the_largest_drop_is_in_points() -> None:
    assert largest_drop({"a": 0.5, "b": 0.4}, {"a": 0.6, "b": 0.38}) == pytest.approx(2)
    assert largest_drop({}, {}) == 0
