"""Every installed engine gives the same outputs and boxes, and converted networks are cached."""

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


def require_engine(name: str) -> None:
    if not engines.is_installed(name):
        pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("name", ["plain", "torch", *CONVERTED, "auto"])
def test_every_engine_gives_the_outputs_of_the_network(name: str, net: Network, x: Tensor) -> None:
    require_engine(name)
    with torch.inference_mode():
        expected, run = net(x), engines.create_engine(net, name)
        for batch in (3, 1):
            outputs = run(x[:batch])
            assert [y.shape for y in outputs] == [y[:batch].shape for y in expected]
            for a, b in zip(expected, outputs, strict=True):
                assert (a[:batch] - b).abs().max() < 1e-4 * a.abs().max()


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_engines_give_the_same_boxes(name: str, net: Network, x: Tensor) -> None:
    require_engine(name)
    expected, boxes = (
        darknet_py.Detector(net, threshold=0.3, engine=engine).batch(x[:1])[0].boxes for engine in ("plain", name)
    )
    assert len(expected) == len(boxes) > 0
    assert torch.allclose(expected.conf, boxes.conf, atol=1e-4)


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_networks_are_cached(name: str, net: Network, cache: pathlib.Path) -> None:
    require_engine(name)
    engines.create_engine(net, name)
    kept = {path: path.stat().st_mtime_ns for path in (cache / "engines" / name).rglob("network.*")}
    assert kept
    engines.create_engine(net, name)
    assert {path: path.stat().st_mtime_ns for path in (cache / "engines" / name).rglob("network.*")} == kept


def test_the_cache_key_depends_on_weights_and_size(net: Network) -> None:
    other = random_networks.randomise(Network(cfg.loads(TEXT, "yolov4-tiny.cfg"), size=(96, 64)), seed=1)
    larger = random_networks.randomise(Network(cfg.loads(TEXT, "yolov4-tiny.cfg"), size=(96, 96)))
    again = random_networks.randomise(Network(cfg.loads(TEXT, "another.cfg"), size=(96, 64)))
    keys = [engines._cache_key(network, "torch") for network in (net, other, larger, again)]
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3


def test_unknown_and_uninstalled_engines_are_refused(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DarknetError, match=r"engine: expected one of plain, torch, .* got 'tvm'"):
        engines.create_engine(net, "tvm")
    with pytest.raises(DarknetError, match="plain: dtype: expected fp32"):
        engines.create_engine(net, "plain", dtype="bf16")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DarknetError, match="openvino: not installed: pip install openvino"):
        engines.create_engine(net, "openvino")
    assert not isinstance(engines.create_engine(net, "auto"), Network)


def test_stateful_networks_run_in_torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_networks.network("[net]\ninputs=5\n[rnn]\nhidden=4\noutput=3\n")
    monkeypatch.setattr(engines, "is_installed", lambda _name: True)
    with pytest.raises(DarknetError, match="does not keep the state of recurrent layers: expected torch"):
        engines.create_engine(net, "openvino")
    engines.create_engine(net, "auto")
