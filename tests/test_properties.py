"""Random networks: cfg and weights round-trip to the bit."""

from __future__ import annotations

import pathlib
import struct
import tempfile

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darknet_py import cfg, weights
from darknet_py.cfg import Config, Dialect, Entry, Section
from darknet_py.layers import Shape
from darknet_py.network import Network
from darknet_py.weights import Header
from tests.helpers import random_networks

ACTIVATIONS = ("linear", "leaky", "mish", "logistic", "swish")


def section(name: str, **keys: object) -> Section:
    return Section(name, tuple(Entry(key.rstrip("_"), str(value)) for key, value in keys.items()))


@st.composite
def convolution(draw: st.DrawFn, shape: Shape) -> Section:
    groups = draw(st.sampled_from([1, 1, shape.channels]))
    return section(
        draw(st.sampled_from(["convolutional", "conv"])),
        filters=groups * draw(st.integers(1, 3)),
        size=draw(st.sampled_from([1, 2, 3])),
        stride=draw(st.sampled_from([1, 1, 2])),
        pad=1,
        groups=groups,
        batch_normalize=draw(st.integers(0, 1)),
        flipped=draw(st.integers(0, 1)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )


@st.composite
def layer(draw: st.DrawFn, shapes: list[Shape]) -> Section:
    """A section that fits behind layers of these shapes (the first is the input's)."""
    index, shape = len(shapes) - 1, shapes[-1]
    same_size = [i for i, other in enumerate(shapes[1:]) if other[1:] == shape[1:]]
    kinds = ["conv", "conv", "connected", "batchnorm", "local", "maxpool", "gru", "dropout"]
    kinds += ["route", "shortcut"] if same_size else []
    match draw(st.sampled_from(kinds)):
        case "conv":
            return draw(convolution(shape))
        case "connected":
            return section("connected", output=draw(st.integers(1, 5)), batch_normalize=draw(st.integers(0, 1)))
        case "batchnorm":
            return section("batchnorm")
        case "local":
            return section("local", filters=draw(st.integers(1, 2)), activation="leaky")
        case "maxpool":
            return section("maxpool", size=2, stride=draw(st.integers(1, 2)))
        case "gru":
            return section("gru", output=draw(st.integers(1, 4)))
        case "dropout":
            return section("dropout", probability=0.5)
        case "route":
            sources = draw(st.lists(st.sampled_from(same_size), min_size=1, max_size=3))
            return section("route", layers=",".join(str(draw(st.sampled_from([i, i - index]))) for i in sources))
        case _:
            keys = {"from_": draw(st.sampled_from(same_size)) - index, "activation": "leaky"}
            if draw(st.booleans()):
                keys |= {"weights_type": "per_channel", "weights_normalization": "softmax"}
            return section("shortcut", **keys)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A network of up to seven layers."""
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    sections = [section("net", width=width, height=height, channels=channels)]
    shapes = [Shape(channels, height, width)]
    for _ in range(draw(st.integers(1, 7))):
        sections.append(draw(layer(shapes)))
        network = Network(Config(tuple(sections)))
        shapes = [network.shape, *(one.shape for one in network)]
    return Config(tuple(sections))


@settings(max_examples=40)
@given(configs(), st.sampled_from(Dialect))
def test_random_networks_round_trip(config: Config, dialect: Dialect) -> None:
    assert cfg.loads(cfg.dumps(config)) == config
    net = random_networks.randomise(Network(config, dialect=dialect))
    other = Network(cfg.loads(cfg.dumps(config)), dialect=dialect)
    assert str(other) == str(net)
    with tempfile.TemporaryDirectory() as folder:
        first, second = pathlib.Path(folder, "a.weights"), pathlib.Path(folder, "b.weights")
        size = weights.save(net, first)
        assert size == first.stat().st_size == 20 + 4 * sum(tensor.numel() for tensor in net.state_dict().values())
        weights.save(weights.load(other, first), second)
        assert second.read_bytes() == first.read_bytes()
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    x = random_networks.random(2, *net.shape)
    with torch.inference_mode():
        (y,), (same,) = net(x), other(x)
    assert y.shape == (2, *net[-1].shape)
    assert y.isfinite().all()
    assert torch.equal(y, same)


VERSION = st.one_of(st.integers(0, 3), st.integers(998, 1002), st.integers(0, 2**31 - 1))


@given(VERSION, VERSION, VERSION, st.integers(0, 2**64 - 1), st.sampled_from(Dialect))
def test_random_headers_round_trip(major: int, minor: int, revision: int, seen: int, dialect: Dialect) -> None:
    layout = Header(major, minor, revision, 0).layout(dialect)
    header = Header(major, minor, revision, seen if layout.endswith("Q") else seen % 2**32)
    content = struct.pack(layout, *header) + b"floats"
    assert weights.read_header(content, dialect, "a.weights") == (header, struct.calcsize(layout))
    assert struct.calcsize(layout) in (16, 20)
