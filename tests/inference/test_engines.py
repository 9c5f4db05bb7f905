"""Every engine that is installed gives the same outputs and boxes, and keeps what it converted."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py import cfg
from darknet_py.errors import DarknetError
from darknet_py.inference import engines
from darknet_py.network import Network
from tests.helpers import random_networks

TEXT = (pathlib.Path(__file__).parents[2] / "cfgs" / "yolov4-tiny.cfg").read_text()
CONVERTED = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def net() -> Network:
    return random_networks.randomise(Network(cfg.loads(TEXT, "yolov4-tiny.cfg"), size=(96, 64)))


@pytest.fixture(scope="module")
def x() -> Tensor:
    return random_networks.random(3, 3, 64, 96, low=0)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKNET_PY_HOME", str(home))
        yield home


def need(name: str) -> None:
    if not engines.is_installed(name):
        pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("name", ["plain", "torch", *CONVERTED, "auto"])
def test_the_outputs_are_the_same(name: str, net: Network, x: Tensor) -> None:
    need(name)
    with torch.inference_mode():
        expected, run = net(x), engines.create_engine(net, name)
        for batch in (3, 1):
            found = run(x[:batch])
            assert [y.shape for y in found] == [y[:batch].shape for y in expected]
            for a, b in zip(expected, found, strict=True):
                assert (a[:batch] - b).abs().max() < 1e-4 * a.abs().max()


@pytest.mark.parametrize("name", CONVERTED)
def test_the_boxes_are_the_same(name: str, net: Network, x: Tensor) -> None:
    need(name)
    expected, found = (
        darknet_py.Detector(net, threshold=0.3, engine=engine).batch(x[:1])[0].boxes for engine in ("plain", name)
    )
    assert len(expected) == len(found) > 0
    assert torch.allclose(expected.conf, found.conf, atol=1e-4)


@pytest.mark.parametrize("name", CONVERTED)
def test_what_was_converted_is_kept(name: str, net: Network, cache: pathlib.Path) -> None:
    need(name)
    engines.create_engine(net, name)
    kept = {path: path.stat().st_mtime_ns for path in (cache / "engines" / name).rglob("network.*")}
    assert kept
    engines.create_engine(net, name)
    assert {path: path.stat().st_mtime_ns for path in (cache / "engines" / name).rglob("network.*")} == kept


def test_the_key_tells_weights_and_sizes_apart(net: Network) -> None:
    other = random_networks.randomise(Network(cfg.loads(TEXT, "yolov4-tiny.cfg"), size=(96, 64)), seed=1)
    larger = random_networks.randomise(Network(cfg.loads(TEXT, "yolov4-tiny.cfg"), size=(96, 96)))
    again = random_networks.randomise(Network(cfg.loads(TEXT, "another.cfg"), size=(96, 64)))
    keys = [engines._cache_key(network, "torch") for network in (net, other, larger, again)]
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3


def test_what_cannot_be_had_is_refused(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DarknetError, match=r"engine: expected one of plain, torch, .* got 'tvm'"):
        engines.create_engine(net, "tvm")
    with pytest.raises(DarknetError, match="plain: dtype: expected fp32"):
        engines.create_engine(net, "plain", dtype="bf16")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DarknetError, match="openvino: not installed: pip install openvino"):
        engines.create_engine(net, "openvino")
    assert not isinstance(engines.create_engine(net, "auto"), Network)


def test_a_network_that_remembers_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_networks.network("[net]\ninputs=5\n[rnn]\nhidden=4\noutput=3\n")
    monkeypatch.setattr(engines, "is_installed", lambda _name: True)
    with pytest.raises(DarknetError, match="has recurrent layers, whose state it does not keep"):
        engines.create_engine(net, "openvino")
    engines.create_engine(net, "auto")
