"""The bytes of .weights files: header and order of the arrays, in both dialects."""

from __future__ import annotations

import math
import pathlib
import struct
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from darknet_py import weights
from darknet_py.cfg import Dialect
from darknet_py.errors import WeightsError
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.random_networks import FLOATS, TEXT, nan_network, weights_file


def vector(section: str, inputs: int = 3) -> str:
    return f"[net]\ninputs={inputs}\n{section}\n"


@pytest.mark.parametrize(
    ("version", "dialect", "layout"),
    [
        ((0, 1, 0), Dialect.ALEXEYAB, "<iiiI"),
        ((0, 1, 99), Dialect.PJREDDIE, "<iiiI"),
        ((0, 2, 0), Dialect.ALEXEYAB, "<iiiQ"),
        ((0, 2, 5), Dialect.PJREDDIE, "<iiiQ"),
        ((1, 0, 0), Dialect.ALEXEYAB, "<iiiQ"),
        ((1001, 0, 0), Dialect.ALEXEYAB, "<iiiQ"),
        ((1001, 0, 0), Dialect.PJREDDIE, "<iiiI"),
        ((0, 1000, 0), Dialect.PJREDDIE, "<iiiI"),
    ],
)
def test_the_header_layout_follows_version_and_dialect(
    version: tuple[int, int, int], dialect: Dialect, layout: str, tmp_path: pathlib.Path
) -> None:
    start = struct.pack(layout, *version, 12345)
    path = weights_file(tmp_path / "a.weights", FLOATS, start)
    net = weights.load(nan_network(TEXT, dialect=dialect), path)
    assert (net.version, net.seen) == (version, 12345)
    assert weights.save(net, tmp_path / "b.weights") == len(start) + 4 * FLOATS
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_seen_beyond_32_bits_is_kept(tmp_path: pathlib.Path) -> None:
    path = weights_file(tmp_path / "a.weights", FLOATS, struct.pack("<iiiQ", 0, 2, 5, 2**40 + 7))
    assert weights.load(nan_network(TEXT), path).seen == 2**40 + 7


@pytest.mark.parametrize(
    ("version", "seen"), [((0, 1, 0), 2**32), ((0, 2, 5), 2**64), ((0, 2, 5), -1), ((2**31, 0, 0), 1)]
)
def test_numbers_that_a_header_cannot_hold_are_an_error(
    version: tuple[int, int, int], seen: int, tmp_path: pathlib.Path
) -> None:
    net = random_networks.network(TEXT)
    net.version, net.seen = version, seen
    with pytest.raises(WeightsError, match=r"a\.weights: Header\(.* does not fit the header of a file"):
        weights.save(net, tmp_path / "a.weights")
    assert not list(tmp_path.iterdir())


def test_a_new_network_is_saved_as_alexeyab_does(tmp_path: pathlib.Path) -> None:
    weights.save(random_networks.network(TEXT), tmp_path / "a.weights")
    assert (tmp_path / "a.weights").read_bytes()[:20] == struct.pack("<iiiQ", 0, 2, 5, 0)
    weights.save(random_networks.network(TEXT), tmp_path / "a.weights", seen=64)
    assert (tmp_path / "a.weights").read_bytes()[:20] == struct.pack("<iiiQ", 0, 2, 5, 64)


def test_every_array_is_at_its_offset(tmp_path: pathlib.Path) -> None:
    net = weights.load(nan_network(TEXT), weights_file(tmp_path / "a.weights", FLOATS))
    state = net.state_dict()
    expected = {
        "layers.0.biases": (0, (2,)),
        "layers.0.norm.scales": (2, (2,)),
        "layers.0.norm.rolling_mean": (4, (2,)),
        "layers.0.norm.rolling_variance": (6, (2,)),
        "layers.0.weights": (8, (2, 1, 3, 3)),
        "layers.2.biases": (26, (3,)),
        "layers.2.weights": (29, (3, 2, 1, 1)),
        "layers.3.biases": (35, (2,)),
        "layers.3.weights": (37, (2, 12)),
        "layers.3.norm.scales": (61, (2,)),
        "layers.3.norm.rolling_mean": (63, (2,)),
        "layers.3.norm.rolling_variance": (65, (2,)),
    }
    assert set(state) == set(expected)
    for name, (first, shape) in expected.items():
        assert torch.equal(state[name], torch.arange(first, first + math.prod(shape)).view(shape).float()), name


def order(net: Network) -> list[str]:
    return [array.label.split("] ")[1] for array in weights.stored(net)]


GATES = {
    ("gru", "alexeyab"): "input_z input_r input_h state_z state_r state_h",
    ("gru", "pjreddie"): "state_z state_r state_h input_z input_r input_h",
    ("lstm", "alexeyab"): "wf wi wg wo uf ui ug uo",
    ("lstm", "pjreddie"): "wi wf wo wg ui uf uo ug",
}


@pytest.mark.parametrize(("name", "dialect"), GATES)
def test_gates_are_stored_in_the_order_of_the_dialect(name: str, dialect: str, tmp_path: pathlib.Path) -> None:
    net = nan_network(vector(f"[{name}]\noutput=2"), dialect=dialect)
    parts = [f"{gate}_layer" if name == "gru" else gate for gate in GATES[name, dialect].split()]
    assert order(net) == [f"{part}.{array}" for part in parts for array in ("biases", "weights")]
    sizes = [2 + 2 * (2 if part[0] in "sw" else 3) for part in parts]
    path = weights_file(tmp_path / "a.weights", sum(sizes), struct.pack("<iiiQ", 0, 2, 0, 0))
    state = weights.load(net, path).state_dict()
    for part, first in zip(parts, np.cumsum([0, *sizes]), strict=False):
        assert state[f"layers.0.{part}.biases"].tolist() == [first, first + 1]
        assert state[f"layers.0.{part}.weights"].flatten()[0] == first + 2


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("[batchnorm]", "alexeyab", "biases scales rolling_mean rolling_variance"),
        ("[batchnorm]", "pjreddie", "scales rolling_mean rolling_variance"),
        ("[local]\nfilters=2", "alexeyab", "biases weights"),
        ("[implicit]", "alexeyab", "weights"),
        ("[rnn]", "alexeyab", " ".join(f"{p}_layer.biases {p}_layer.weights" for p in ("input", "self", "output"))),
        ("[yolo]\nclasses=1\nnum=1", "alexeyab", ""),
    ],
)
def test_arrays_are_stored_in_darknets_order(text: str, dialect: str, expected: str) -> None:
    channels = 6 if "yolo" in text else 3
    assert (
        order(nan_network(f"[net]\nwidth=2\nheight=2\nchannels={channels}\n{text}", dialect=dialect))
        == expected.split()
    )


def test_conv_lstm_stores_peepholes_first_and_only_used_gates() -> None:
    text = "[net]\nwidth=2\nheight=2\nchannels=3\n[conv_lstm]\noutput=3\nsize=1\npeephole=1\n"
    gates = [name.partition(".")[0] for name in order(nan_network(text))[::2]]
    assert gates == ["vf", "vi", "vo", "wf", "wi", "wg", "wo", "uf", "ui", "ug", "uo"]
    gates = [name.partition(".")[0] for name in order(nan_network(text + "bottleneck=1"))[::2]]
    assert gates == ["vf", "vi", "vo", "wf", "uf", "ui", "ug", "uo"]


@pytest.mark.parametrize("version", [(0, 2, 0), (1001, 2, 0), (0, 1001, 0), (1000, 1000, 0)])
def test_old_files_have_transposed_matrices_of_connected_layers(version: Sequence[int], tmp_path: pathlib.Path) -> None:
    text = vector("[connected]\noutput=2\n[rnn]\noutput=1\nhidden=2")
    start = struct.pack("<iiiQ", *version, 0)
    path = weights_file(tmp_path / "a.weights", 2 + 6 + (2 + 4) + (2 + 4) + (1 + 2), start)
    net = weights.load(nan_network(text), path)
    rows = torch.arange(2, 8).float()
    transposed = max(version) > 1000
    expected = rows.view(3, 2).t() if transposed else rows.view(2, 3)
    assert torch.equal(net.state_dict()["layers.0.weights"], expected)
    inner = torch.arange(10, 14).float().view(2, 2)
    assert torch.equal(net.state_dict()["layers.1.input_layer.weights"], inner.t() if transposed else inner)
    weights.save(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_convolutions_are_not_transposed_but_flipped_ones_are(tmp_path: pathlib.Path) -> None:
    text = "[net]\nwidth=4\nheight=4\nchannels=2\n[conv]\nfilters=3\nsize=2\nflipped={}\n"
    for flipped, version in ((0, 1001), (1, 0), (1, 1001)):
        path = weights_file(tmp_path / "a.weights", 27, struct.pack("<iiiQ", version, 2, 0, 0))
        net = weights.load(nan_network(text.format(flipped)), path)
        rows = torch.arange(3, 27).float()
        expected = rows.view(8, 3).t() if flipped else rows.view(3, 8)
        assert torch.equal(net.state_dict()["layers.0.weights"].flatten(1), expected)
        weights.save(net, tmp_path / "b.weights")
        assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_memory_layouts_do_not_matter(tmp_path: pathlib.Path) -> None:
    path = weights_file(tmp_path / "a.weights", FLOATS)
    net = weights.load(nan_network(TEXT).to(memory_format=torch.channels_last), path)  # type: ignore[call-overload]
    plain = weights.load(nan_network(TEXT), path).state_dict()["layers.0.weights"]
    assert torch.equal(net.state_dict()["layers.0.weights"], plain)
    weights.save(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_dtypes_are_saved_as_float32(dtype: torch.dtype, tmp_path: pathlib.Path) -> None:
    path = weights_file(tmp_path / "a.weights", FLOATS)  # integers up to 66 are exact in all of them
    net = weights.load(nan_network(TEXT).to(dtype), path)
    assert all(tensor.dtype == dtype for tensor in net.state_dict().values())
    weights.save(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_a_header_of_version_0_0_0_has_20_bytes(tmp_path: pathlib.Path) -> None:
    """PyTorch programs write five int32: 0, 0, 0, images seen, 0."""
    net = random_networks.network(random_networks.TEXT)
    weights.save(net, tmp_path / "a.weights")
    arrays = (tmp_path / "a.weights").read_bytes()[20:]
    content = struct.pack("<5i", 0, 0, 0, 640, 0) + arrays
    (tmp_path / "b.weights").write_bytes(content)
    other = weights.load(random_networks.network(random_networks.TEXT), tmp_path / "b.weights")
    assert (other.version, other.seen) == ((0, 0, 0), 640)
    weights.save(other, tmp_path / "c.weights")
    assert (tmp_path / "c.weights").read_bytes() == content


@pytest.mark.parametrize("surplus", [-8, -4, 4, 8])
def test_a_difference_of_4_or_8_bytes_is_explained_as_a_header(surplus: int, tmp_path: pathlib.Path) -> None:
    net = random_networks.network(random_networks.TEXT)
    weights.save(net, tmp_path / "a.weights")
    content = (tmp_path / "a.weights").read_bytes()
    (tmp_path / "a.weights").write_bytes(content[:surplus] if surplus < 0 else content + bytes(surplus))
    change = f"{abs(surplus)} bytes {'longer' if surplus > 0 else 'shorter'}"
    with pytest.raises(WeightsError, match=f"; its header may be {change} than that of its version"):
        weights.load(net, tmp_path / "a.weights")
