"""``Network``: outputs, input shapes, lifetimes of the layers' outputs, errors, copies, and the layer table."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darknet_py import cfg
from darknet_py.cfg import Dialect
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.layers import LAYERS, Layer, Shape, StepContext
from darknet_py.network import Network
from tests.helpers.random_networks import network, random

HEAD = "[yolo]\nclasses=1\nnum=2\nanchors=4,5,6,7\n"
CONV = "[convolutional]\nsize=3\npad=1\nactivation=leaky\nbatch_normalize=1\n"

# 0 conv, 1 pool, 2 conv, 3 route 0, 4 pool, 5 route 4 2, 6 conv, 7 yolo, 8 route 5, 9 upsample, 10 conv, 11 yolo
TWO_HEADS = f"""
[net]
width=32
height=24
channels=3
{CONV}filters=4
[maxpool]
stride=2
{CONV}filters=8
[route]
layers=0
[maxpool]
stride=2
[route]
layers=-1,2
[conv]
filters=12
activation=linear
{HEAD}
[route]
layers=5
[upsample]
[conv]
filters=12
activation=linear
{HEAD}
"""
PLAIN = f"[net]\nwidth=16\nheight=8\nchannels=3\n{CONV}filters=4\n[maxpool]\nstride=2\n{CONV}filters=5\n"
LAST = "[connected]\noutput=3\nactivation=linear\n[softmax]\n[cost]\n"
VECTOR = f"[net]\ninputs=7\n[connected]\noutput=5\n[dropout]\n{LAST}"


def run(net: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        outputs: list[Tensor] = net(x)
    return outputs


def test_the_outputs_are_those_of_the_heads() -> None:
    net = network(TWO_HEADS)
    outputs = run(net, random(2, 3, 24, 32))
    assert [tuple(y.shape) for y in outputs] == [(2, 12, 12, 16), (2, 12, 24, 32)]
    assert [net.layers[7], net.layers[11]] == net.heads
    assert [tuple(head.shape) for head in net.heads] == [tuple(y.shape[1:]) for y in outputs]


def test_without_a_head_the_output_is_that_of_the_last_layer() -> None:
    (y,) = run(network(PLAIN), random(2, 3, 8, 16))
    assert y.shape == (2, 5, 4, 8)


def test_a_head_that_another_layer_reads_is_an_output() -> None:
    net = network(TWO_HEADS + "[route]\nlayers=7\n")
    assert [y.shape[2] for y in run(net, random(1, 3, 24, 32))] == [12, 24]


@pytest.mark.parametrize("size", [(32, 24), (64, 32), (16, 8), (40, 12)])
def test_the_size_argument_replaces_that_of_the_cfg(size: tuple[int, int]) -> None:
    net = network(TWO_HEADS, size=size)
    assert net.shape == Shape(3, size[1], size[0])
    x = random(1, 3, size[1], size[0])
    expected = run(net, x)
    assert [tuple(y.shape[1:]) for y in expected] == [tuple(head.shape) for head in net.heads]
    for y, same in zip(run(network(TWO_HEADS), x), expected, strict=True):  # other sizes need no rebuilding
        assert torch.equal(y, same)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_any_number_of_input_channels(channels: int) -> None:
    net = network(PLAIN.replace("channels=3", f"channels={channels}"))
    assert run(net, random(1, channels, 8, 16))[0].shape == (1, 5, 4, 8)


def test_a_network_of_vectors() -> None:
    net = network(VECTOR)
    assert net.shape == Shape(7, 1, 1)
    x = random(3, 7)
    (y,) = run(net, x)
    assert y.shape == (3, 3, 1, 1)
    torch.testing.assert_close(y.sum(dim=1).flatten(), torch.ones(3))
    assert torch.equal(run(net, x[:, :, None, None])[0], y)


def test_an_image_may_be_a_vector() -> None:
    net, x = network(PLAIN), random(2, 3, 8, 16)
    assert torch.equal(run(net, x.flatten(1))[0], run(net, x)[0])


@pytest.mark.parametrize("text", [TWO_HEADS, PLAIN], ids=["heads", "plain"])
def test_images_of_a_batch_are_independent(text: str) -> None:
    net = network(text)
    x = random(3, *net.shape)
    for row in range(3):
        for y, alone in zip(run(net, x), run(net, x[row : row + 1]), strict=True):
            torch.testing.assert_close(y[row], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 8, 16), (3, 8, 16), (1, 7), (2, 3, 8, 16, 1)])
def test_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    message = f"expected a batch of (3, 8, 16) (channels, height, width), got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        network(PLAIN)(torch.zeros(shape))


def test_an_error_names_the_layer_and_its_input() -> None:
    net = network(TWO_HEADS)
    del net[2].weights
    with pytest.raises(AttributeError) as error:
        net(random(1, 3, 24, 32))
    line = net.config.sections[3].line
    expected = f"in layer 2 [convolutional] ({net.config.path}:{line}), input shapes (1, 4, 12, 16)"
    assert error.value.__notes__ == [expected]


def test_an_error_names_every_input(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(PLAIN + "[shortcut]\nfrom=-3\n")
    monkeypatch.setattr(net[3], "forward", lambda *inputs, context: int("x"))
    with pytest.raises(ValueError, match="invalid literal") as error:
        net(random(1, *net.shape))
    line = net.config.sections[4].line
    shapes = f"{(1, *net[2].shape)}, {(1, *net[0].shape)}"
    assert error.value.__notes__ == [f"in layer 3 [shortcut] ({net.config.path}:{line}), input shapes {shapes}"]


@pytest.mark.parametrize("text", [TWO_HEADS, VECTOR], ids=["heads", "vector"])
def test_torch_compile_and_export_see_one_graph(text: str) -> None:
    net = network(text)
    x = random(2, *net.shape) if max(net.shape[1:]) > 1 else random(2, 7)
    expected = run(net, x)
    with torch.inference_mode():
        compiled = torch.compile(net, fullgraph=True, backend="eager")(x)
    exported = run(torch.export.export(net, (x,)).module(), x)
    assert all(map(torch.equal, compiled, expected))
    assert all(map(torch.equal, exported, expected))


def test_the_context_reaches_the_layers_that_declare_it() -> None:
    net = network(TWO_HEADS)
    seen: list[dict[str, Any]] = []
    for layer in net.layers:
        layer.register_forward_pre_hook(lambda _layer, _inputs, kwargs: seen.append(kwargs), with_kwargs=True)
    context = StepContext(size=(32, 24))
    with torch.inference_mode():
        net(random(1, 3, 24, 32), context)
    assert seen == [{"context": context} if layer.uses_context else {} for layer in net]
    assert {layer.names[0] for layer in net if layer.uses_context} == {"convolutional"}


@pytest.mark.parametrize("kind", [LAYERS[name] for name in sorted(LAYERS)], ids=sorted(LAYERS))
def test_a_layer_that_takes_the_context_declares_it(kind: type[Layer]) -> None:
    assert ("context" in inspect.signature(kind.forward).parameters) == kind.uses_context


def readers(net: Network) -> dict[int, int]:
    """Return the last layer that reads each output of ``TWO_HEADS``."""
    return {0: 3, 1: 2, 2: 5, 3: 4, 4: 5, 5: 8, 6: 7, 8: 9, 9: 10, 10: 11}


def test_outputs_are_freed_after_their_last_reader() -> None:
    net = network(TWO_HEADS)
    alive: dict[int, weakref.ref[Tensor]] = {}
    seen: dict[int, set[int]] = {}

    def watch(index: int) -> None:
        def before(_layer: nn.Module, _inputs: tuple[Any, ...]) -> None:
            seen[index] = {number for number, output in alive.items() if output() is not None}

        def after(_layer: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
            alive[index] = weakref.ref(output)

        net.layers[index].register_forward_pre_hook(before)
        net.layers[index].register_forward_hook(after)

    for index in range(len(net.layers)):
        watch(index)
    x = random(1, 3, 24, 32)
    alive[-1] = weakref.ref(x)
    with torch.inference_mode():
        outputs = net(x)
    # A route with one source returns it unchanged, so output 0 is alive as 3, and 5 as 8.
    last = readers(net) | {0: 4, 3: 4, 5: 9, 8: 9, -1: 11, 7: 99}
    for index, alive_numbers in seen.items():
        assert alive_numbers == {n for n in alive if n < index and last[n] >= index}, f"before layer {index}"
    assert {n for n, output in alive.items() if output() is not None} == {-1, 7, 11}
    assert len(outputs) == 2


def test_the_layer_table() -> None:
    lines = str(network(TWO_HEADS)).splitlines()
    assert len(lines) == 1 + 12 + 1
    assert lines[0].split() == ["layer", "options", "input", "output", "BFLOPS", "floats"]
    assert re.fullmatch(r" *0 +convolutional +4 3x3/1 leaky +32x24x3 +32x24x4 +0\.000 +124", lines[1])
    assert re.fullmatch(r" *6 +conv +12 1x1/1 linear +16x12x12 +16x12x12 +0\.000 +156", lines[7])
    assert re.fullmatch(r" *8 +route +5 +16x12x12 +16x12x12", lines[9])
    floats = [int(line.split()[-1].replace(",", "")) for line in lines[1:-1] if re.search(r"\d\.\d{3} +[\d,]+$", line)]
    flops = 2 * (32 * 24 * 27 * 4 + 16 * 12 * 36 * 8 + 16 * 12 * 12 * 12 + 32 * 24 * 12 * 12)
    flops += 4 * (16 * 12 * 4) * 2  # four cells for each pooled one, in two pools
    assert sum(floats) == 124 + 4 * 8 + 288 + 156 + 156
    assert network(TWO_HEADS).flops == pytest.approx(flops, rel=0.01)
    assert lines[-1] == f"Total BFLOPS {network(TWO_HEADS).flops / 1e9:.3f}, {sum(floats):,} floats"


def test_sections_keep_the_names_that_the_cfg_uses() -> None:
    assert "  conv  " in str(network("[network]\nwidth=4\nheight=4\nchannels=1\n[conv]\n[soft]\n"))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_copies_are_equal_and_separate(copied: Any) -> None:
    net, x = network(TWO_HEADS), random(1, 3, 24, 32)
    expected, other = run(net, x), copied(net)
    assert all(map(torch.equal, run(other, x), expected))
    assert str(other) == str(net)
    assert (other.sources, other.shape, other.version, other.seen) == (net.sources, net.shape, net.version, net.seen)
    for parameter in other.parameters():
        parameter.data.zero_()
    assert all(map(torch.equal, run(net, x), expected))


def test_state_dict_keys_contain_the_layer_number() -> None:
    names = list(network(PLAIN).state_dict())
    assert names[:2] == ["layers.0.biases", "layers.0.weights"]
    assert "layers.2.norm.rolling_mean" in names


def test_shared_weights_belong_to_one_layer() -> None:
    text = f"{PLAIN.replace('channels=3', 'channels=4')}[upsample]\n[conv]\nfilters=4\nactivation=linear\n"
    shared = "size=3\nfilters=4\nshare_index=0\npad=1\nactivation=linear\n"
    net = network(text + f"[convolutional]\n{shared}[convolutional]\n{shared.replace('=0', '=-1')}")
    assert [name for name in net.state_dict() if name.startswith(("layers.5", "layers.6"))] == []
    x = random(1, 4, 8, 16)
    owner, sharing = net[0], net[5]
    with torch.inference_mode():
        shared_output, own_output = sharing(x), owner(x)
        assert torch.equal(torch.where(shared_output > 0, shared_output, 0.1 * shared_output), own_output)
        for _, tensor in owner.stored():
            tensor.mul_(2)
        assert not torch.equal(sharing(x), shared_output)
    other = copy.deepcopy(net)
    with torch.inference_mode():
        for _, tensor in other[0].stored():
            tensor.zero_()
        assert torch.equal(sharing(x), net[6](x)), "a copied layer uses the weights of the copied network"
        assert other[5](x).abs().max() == 0


def test_training_mode_updates_the_statistics_of_batch_norm() -> None:
    net, x = network(PLAIN), random(4, 3, 8, 16)
    assert not net.training
    before = run(net, x)[0]
    mean = net.state_dict()["layers.0.norm.rolling_mean"].clone()
    net.train()(x)[0].sum().backward()
    assert not torch.equal(net.state_dict()["layers.0.norm.rolling_mean"], mean)
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert run(net.eval(), x)[0].shape == before.shape


def test_dialects_are_given_by_name() -> None:
    assert network(PLAIN, dialect="pjreddie").dialect is Dialect.PJREDDIE
    with pytest.raises(ValueError, match="darknet53"):
        network(PLAIN, dialect="darknet53")


def test_strict_makes_text_without_effect_an_error() -> None:
    text = PLAIN + "filtres=3\n"
    with pytest.warns(UnusedOptionWarning, match="filtres"):
        network(text)
    with pytest.raises(ConfigError, match=r"^made.cfg:\d+: \[convolutional\] filtres: unknown option"):
        Network(cfg.loads(text, "made.cfg"), strict=True)
