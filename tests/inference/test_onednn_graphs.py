"""Engine ``graph`` on a CPU: the same outputs, one graph for each size, and what it refuses."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py import cfg
from darknet_py.errors import DarknetError
from darknet_py.inference import engines, onednn_graphs
from darknet_py.inference.auto_engine import AutoEngine
from darknet_py.inference.engine_choice import relative_difference
from darknet_py.network import Network
from tests.helpers import paths, random_networks

PARTS = """
[net]
width=24
height=16
channels=3
[conv]
filters=8
size=3
pad=1
batch_normalize=1
activation={activation}
[route]
layers=-1
groups=2
group_id=1
[conv]
filters=4
size=3
pad=1
activation={activation}
[conv]
filters=4
size=1
activation=linear
[shortcut]
from=-2
activation={activation}
[route]
layers=-1,-4
[maxpool]
size=2
stride=2
[avgpool]
[conv]
filters=8
size=1
activation={activation}
[scale_channels]
from=-3
activation=linear
scale_wh=0
[conv]
filters=6
size=1
activation=linear
[yolo]
classes=1
"""


def images(network: Network, batch: int = 1, seed: int = 0) -> Tensor:
    return random_networks.random(batch, *network.shape, seed=seed, low=0)


def network(activation: str = "leaky") -> Network:
    return random_networks.randomise(Network(cfg.loads(PARTS.format(activation=activation))))


@pytest.mark.parametrize(
    "activation", ["leaky", "relu", "relu6", "swish", "logistic", "mish", "gelu", "hardtan", "relie"]
)
def test_the_outputs_are_the_networks(activation: str) -> None:
    net = network(activation)
    run = engines.create_engine(net, "graph")
    for batch in (1, 3, 1):
        x = images(net, batch)
        assert relative_difference(run(x), net.predict(x)) < 1e-5


@pytest.mark.parametrize("name", ["digits", "yolov4-tiny", "densenet121"])
def test_networks_of_the_package(name: str) -> None:
    config = cfg.load(paths.ROOT / "cfgs" / f"{name}.cfg")
    net = random_networks.randomise(Network(config, size=(64, 64)))
    x = images(net)
    assert relative_difference(engines.create_engine(net, "graph")(x), net.predict(x)) < 1e-4


def test_a_pooling_that_skips_cells() -> None:
    """Its padding is at least 0, also where the sizes are tensors, as in TorchScript's traces."""
    text = "[net]\nwidth=11\nheight=8\nchannels=3\n[local_avgpool]\nsize=2\nstride=4\n[conv]\nactivation=leaky\n"
    net = random_networks.network(text)
    x = images(net)
    assert relative_difference(engines.create_engine(net, "graph")(x), net.predict(x)) < 1e-5


def test_onednn_computes_it_and_the_switch_is_put_back() -> None:
    net = network()
    before = torch.jit.onednn_fusion_enabled()
    run = engines.create_engine(net, "graph")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # TorchScript is deprecated, which is no concern of the user
        run(images(net))
    assert "oneDNNFusionGroup" in str(torch.jit.last_executed_optimized_graph())  # type: ignore[attr-defined]
    assert torch.jit.onednn_fusion_enabled() == before


def test_the_number_of_graphs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    run = onednn_graphs.OneDNNGraphEngine(net)
    opened: list[int] = []
    opening = run._open

    def count(x: Tensor) -> onednn_graphs.Graph:
        opened.append(len(x))
        return opening(x)

    monkeypatch.setattr(run, "_open", count)
    for batch in (1, 2, 1, 3, 4, 5, 5, 1):
        run(images(net, batch))
    assert opened == [1, 2, 3, 4, 5, 1]
    assert len(run._graphs) == 4


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, TypeError])
def test_what_cannot_be_compiled_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    net = network()

    def fail(*_: object, **__: object) -> None:
        raise kind("The following operation failed.\n\nNo kernel for this operator. It was omitted.\n")

    monkeypatch.setattr(torch.jit, "freeze", fail)
    with pytest.raises(DarknetError, match=r"engine graph: .*: oneDNN cannot compile it: No kernel for this operator$"):
        engines.create_engine(net, "graph")(images(net))


def test_other_outputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    monkeypatch.setattr(onednn_graphs, "TOLERANCE", 0.0)
    with pytest.raises(DarknetError, match=r"outputs differ from the network's by \d\.\de-\d\d of their RMS"):
        engines.create_engine(net, "graph")(images(net))


def test_torchscript_keeps_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    freeze, frozen = torch.jit.freeze, []

    def keep(traced: Any) -> Any:
        frozen.append(freeze(traced))
        return frozen[-1]

    monkeypatch.setattr(torch.jit, "freeze", keep)
    run = engines.create_engine(net, "graph")
    run(images(net))
    assert list(frozen[0].graph.nodes()) == []
    frozen.clear()
    x = images(net, seed=1)
    assert relative_difference(run(x), net.predict(x)) < 1e-5


def test_a_build_of_torch_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.jit, "enable_onednn_fusion")
    with pytest.raises(DarknetError, match="engine graph: this build of torch has no graphs of oneDNN"):
        engines.create_engine(network(), "graph")


def test_bf16_and_layers_of_plug_ins_are_refused() -> None:
    net = network()
    with pytest.raises(DarknetError, match="engine graph: dtype: expected fp32 on a CPU, got 'bf16'"):
        engines.create_engine(net, "graph", dtype="bf16")

    class OfAPlugIn(type(net[0])):  # type: ignore[misc]
        pass

    net[0].__class__ = OfAPlugIn
    with pytest.raises(DarknetError, match=r"engine graph: layer 0 \[conv\]: expected layers of this package"):
        engines.create_engine(net, "graph")


def test_auto_tries_it_unless_a_network_has_mish() -> None:
    for activation, expected in (("leaky", True), ("mish", False)):
        run = engines.create_engine(network(activation), "auto")
        assert isinstance(run, AutoEngine)
        assert ("graph" in run.candidates) == expected


def test_a_detector_uses_it() -> None:
    net = network()
    image = (255 * random_networks.random(40, 30, 3, low=0)).byte().numpy()
    plain, graph = (darknet_py.Detector(net, threshold=0.1, engine=name)(image).boxes for name in ("plain", "graph"))
    assert len(plain) == len(graph) > 0
    assert torch.allclose(plain.conf, graph.conf, atol=1e-4)
