"""Each kind of step of an optimised network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py.activations import Activation
from darknet_py.inference import convolutions, inplace
from darknet_py.inference.fused_network import optimise
from darknet_py.layers import LAYERS, Layer, StepContext
from darknet_py.layers._convolution import Convolution
from tests.helpers import random_networks
from tests.helpers.layer_samples import SAMPLES
from tests.helpers.optimised_networks import TEXT, TOLERANCE, assert_same, max_relative_error, run


@pytest.mark.parametrize("before", sorted(Activation))
def test_every_activation_in_a_convolution(before: str) -> None:
    net = random_networks.network(TEXT.format(before=before, after="linear"))
    x = random_networks.random(2, 3, 12, 16)
    assert max_relative_error(run(net, x), run(optimise(net), x)) < TOLERANCE


@pytest.mark.parametrize("after", ["linear", "relu", "leaky", "mish", "logistic"])
@pytest.mark.parametrize("before", ["linear", "leaky", "mish"])
def test_a_sum_is_fused_with_the_convolution_before_it(before: str, after: str) -> None:
    net = random_networks.network(TEXT.format(before=before, after=after).replace("layers=-1,-2,-3", "layers=-1,-3"))
    fused = optimise(net)
    assert len(fused.steps) == len(net.layers) - 1
    x = random_networks.random(3, 3, 12, 16)
    assert max_relative_error(run(net, x), run(fused, x)) < TOLERANCE


def test_a_pointwise_convolution_of_one_cell_is_a_matrix_product() -> None:
    text = "[net]\nwidth=6\nheight=4\nchannels=3\n[conv]\nfilters=8\nsize=3\npad=1\n[avgpool]\n"
    net = random_networks.network(
        text + "[conv]\nfilters=2\nactivation=mish\n[conv]\nfilters=8\n[scale_channels]\nfrom=0\n"
    )
    fused = optimise(net)
    assert sum(isinstance(step, convolutions.FusedPointwise) for step in fused.steps) == 2
    for batch in (1, 3):
        x = random_networks.random(batch, 3, 4, 6)
        assert max_relative_error(run(net, x), run(fused, x)) < TOLERANCE


def test_a_sum_of_an_output_with_other_readers_is_not_fused() -> None:
    assert len(optimise(random_networks.network(TEXT.format(before="linear", after="linear"))).steps) == 6


def test_mish_of_large_and_small_values() -> None:
    x = torch.tensor([-1e30, -100.0, -20.0, -1e-6, 0.0, 1e-6, 20.0, 100.0, 1e30]).view(1, 9, 1, 1)
    expected = Activation.MISH(x)
    assert torch.allclose(inplace.mish_(x.clone()), expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("between", ["[dropout]", "[empty]", "[route]\nlayers=-1", "[dropout]\n[dropout]"])
def test_an_identity_is_not_a_step_and_does_not_prevent_a_fused_sum(between: str) -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=4\n[convolutional]\nfilters=4\nactivation=leaky\n"
    steps = "[convolutional]\nfilters=4\nactivation=linear\n{}\n[shortcut]\nfrom={}\nactivation=leaky\n"
    net = random_networks.network(
        text + steps.format(between, -2 - between.count("[")) + "[maxpool]\nsize=2\nstride=2\n"
    )
    fused = optimise(net)
    assert len(fused.plan) == 3
    assert sorted(number for step in fused.plan for number in step.layers) == list(range(len(net.layers)))
    assert_same(net, random_networks.random(2, 4, 8, 8))


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (2, 1), (1, 1)])
@pytest.mark.parametrize(
    "keys", ["size=2\nstride=2", "size=2\nstride=1", "size=2\nstride=2\npadding=0", "stride_x=2\nstride_y=1\nsize=2"]
)
def test_fused_pooling_equals_pooling_of_windows(size: tuple[int, int], keys: str) -> None:
    if "padding=0" in keys and min(size) < 2:
        pytest.skip("no window fits")
    net = random_networks.network(f"[net]\nwidth={size[0]}\nheight={size[1]}\nchannels=5\n[maxpool]\n{keys}\n")
    x = random_networks.random(2, 5, *size[::-1])
    assert torch.equal(run(net, x)[0], run(optimise(net), x)[0])


class Doubled(Convolution):
    """A user-defined convolution with its own forward."""

    uses_context = True

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        return 2 * super().forward(x, context)


class Named(Convolution):
    """A user-defined convolution that inherits forward."""


@pytest.mark.parametrize(("kind", "is_fused"), [(Doubled, False), (Named, True)])
def test_a_subclass_with_its_own_forward_is_not_replaced(
    kind: type[Layer], is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYERS, "conv", kind)
    net = random_networks.network("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\nsize=3\n[maxpool]\n")
    fused = optimise(net)
    assert isinstance(fused.steps[0], convolutions.FusedConvolution) == is_fused
    assert (fused.steps[0] is net[0]) == (not is_fused)
    assert_same(net, random_networks.random(1, 3, 8, 8))


def test_every_dtype_agnostic_layer_runs_in_bf16() -> None:
    tested = set()
    for sample in SAMPLES:
        layer, inputs = sample.build(), [random_networks.random(1, *shape) for shape in sample.inputs]
        if layer.dtype_agnostic:
            layer.reset()
            with torch.inference_mode():
                exact, rounded = layer(*inputs), layer(*(x.bfloat16() for x in inputs))
            assert rounded.dtype is torch.bfloat16, sample
            assert max_relative_error([exact], [rounded.float()]) < 3e-2, sample
            tested.add(sample.name)
    assert {"avgpool", "maxpool", "route", "shortcut", "upsample"} <= tested


def test_binary_layers_are_not_fused() -> None:
    layer = "[conv]\nfilters=16\nsize=3\npad=1\nactivation=leaky\n"
    first = "[net]\nwidth=16\nheight=16\nchannels=3\n" + layer + "batch_normalize=1\n"
    net = random_networks.network(first + (layer + "xnor=1\n") * 4)
    x = random_networks.random(3, 3, 16, 16)
    assert torch.equal(run(net, x)[0], run(optimise(net), x)[0])
