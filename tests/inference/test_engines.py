"""Every installed engine gives the same outputs and boxes, from several threads and after the weights have changed."""

from __future__ import annotations

import copy
import importlib.util
import pathlib
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import darknet_py
from darknet_py import cfg
from darknet_py.errors import DarknetError
from darknet_py.inference import engines
from darknet_py.network import Network
from darknet_py.runtimes.openvino_models import import_openvino
from tests.helpers import export_networks, random_networks

TEXT = (pathlib.Path(__file__).parents[2] / "cfgs" / "yolov4-tiny.cfg").read_text()
CONVERTED = ("openvino", "onnxruntime", "ncnn")
ENGINES = ("plain", "torch", "graph", *CONVERTED)


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


@pytest.mark.parametrize("name", ["graph", "openvino", "onnxruntime"])  # ncnn does not load it, and says so
def test_locally_connected_layers_run_for_any_batch(name: str) -> None:
    require_engine(name)
    local = "[local]\nfilters={}\nsize=3\nstride=2\npad={}\nactivation=leaky\n"
    net = random_networks.network("[net]\nwidth=20\nheight=16\nchannels=3\n" + local.format(6, 1) + local.format(5, 0))
    x = random_networks.random(3, 3, 16, 20, low=0)
    run = engines.create_engine(net, name)
    for batch in (1, 3):
        for output, expected in zip(run(x[:batch]), net.predict(x[:batch]), strict=True):
            torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("name", [*ENGINES, "auto"])
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


@pytest.fixture(scope="module")
def small() -> Network:
    return export_networks.detector()


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    require_engine(request.param)
    return str(request.param)


def test_threads_do_not_get_the_outputs_of_other_images(name: str, small: Network) -> None:
    run = engines.create_engine(small, name)
    images = [random_networks.random(1, *small.shape, seed=seed, low=0) for seed in range(8)]
    with torch.inference_mode():
        expected = [small(image) for image in images]
    assert max_difference(expected[0], expected[1]) > 0.01

    def compute(index: int) -> list[list[Tensor]]:
        with torch.inference_mode():
            return [run(images[index]) for _ in range(40)]

    with ThreadPoolExecutor(8) as threads:
        for outputs, wanted in zip(threads.map(compute, range(8)), expected, strict=True):
            assert max(max_difference(one, wanted) for one in outputs) < 1e-4


def test_openvino_compiles_for_the_first_batch_size_and_for_all_others(
    small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    openvino = import_openvino()
    compiled = []
    compile_model = openvino.Core.compile_model

    def count(*args: Any) -> Any:
        compiled.append(args)
        return compile_model(*args)

    monkeypatch.setattr(openvino.Core, "compile_model", count)
    run = engines.create_engine(small, "openvino")
    with torch.inference_mode():
        for batch in (4, 5, 2, 4, 1):
            x = random_networks.random(batch, *small.shape, low=0)
            assert max_difference(run(x), small(x)) < 1e-4
    first, others = (model.inputs[0].get_partial_shape() for _, model, *_ in compiled)
    assert first.is_static
    assert first[0].get_length() == 4
    assert others[0].is_dynamic


def first_weights(net: Network) -> nn.Parameter:
    weights = dict(net[0].named_parameters())["weights"]
    assert isinstance(weights, nn.Parameter)
    return weights


def change_in_place(net: Network, _folder: pathlib.Path) -> None:
    with torch.no_grad():
        first_weights(net).mul_(1.5)


def load_a_file(net: Network, folder: pathlib.Path) -> None:
    other = random_networks.randomise(copy.deepcopy(net), seed=3)
    darknet_py.save_weights(other, folder / "other.weights")
    darknet_py.load_weights(net, folder / "other.weights")


def load_a_state_dict(net: Network, _folder: pathlib.Path) -> None:
    net.load_state_dict(random_networks.randomise(copy.deepcopy(net), seed=3).state_dict())


def replace_a_parameter(net: Network, _folder: pathlib.Path) -> None:
    net[0].register_parameter("weights", nn.Parameter(1.5 * first_weights(net).detach()))


def assign_data(net: Network, _folder: pathlib.Path) -> None:
    first_weights(net).data = 1.5 * first_weights(net).detach()


def replace_a_layer(net: Network, folder: pathlib.Path) -> None:
    net.layers[0] = copy.deepcopy(net[0])
    change_in_place(net, folder)


CHANGES = (load_a_state_dict, replace_a_parameter, assign_data, replace_a_layer)
CASES = [("torch", change) for change in CHANGES] + [(name, load_a_file) for name in ENGINES]


@pytest.mark.parametrize(("name", "change"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_engines_use_the_current_weights(
    name: str, change: Callable[[Network, pathlib.Path], None], tmp_path: pathlib.Path
) -> None:
    require_engine(name)
    net = export_networks.detector()
    run = engines.create_engine(net, name)
    x = random_networks.random(1, *net.shape, low=0)
    with torch.inference_mode():
        before = run(x)
        change(net, tmp_path)
        assert max_difference(before, net(x)) > 0.01
        assert max_difference(run(x), net(x)) < 1e-4


def test_refresh_uses_changes_that_torch_does_not_count(name: str) -> None:
    net = export_networks.detector()
    detector = darknet_py.Detector(net, engine=name)
    x = random_networks.random(1, *net.shape, low=0)
    with torch.inference_mode():
        detector.run(x)
        first_weights(net).data.mul_(1.5)
        detector.refresh()
        assert max_difference(detector.run(x), net(x)) < 1e-4


def test_engines_can_be_copied_and_pickled(name: str, small: Network) -> None:
    run = engines.create_engine(small, name)
    x = random_networks.random(1, *small.shape, low=0)
    copies = (copy.deepcopy(run), pickle.loads(pickle.dumps(run)))
    with torch.no_grad():
        assert all(max_difference(one(x), run(x)) < 1e-6 for one in copies)


def max_difference(outputs: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference, relative to the largest expected value."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(outputs, expected, strict=True))


def test_unknown_and_uninstalled_engines_are_refused(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DarknetError, match=r"engine: expected one of plain, torch, .* got 'tvm'"):
        engines.create_engine(net, "tvm")
    with pytest.raises(DarknetError, match="plain: dtype: expected fp32"):
        engines.create_engine(net, "plain", dtype="bf16")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DarknetError, match=r"openvino: not installed: pip install 'darknet-torch\[openvino\]'"):
        engines.create_engine(net, "openvino")
    assert not isinstance(engines.create_engine(net, "auto"), Network)


def test_stateful_networks_run_in_torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_networks.network("[net]\ninputs=5\n[rnn]\nhidden=4\noutput=3\n")
    monkeypatch.setattr(engines, "is_installed", lambda _name: True)
    with pytest.raises(DarknetError, match="does not keep the state of recurrent layers: expected torch"):
        engines.create_engine(net, "openvino")
    engines.create_engine(net, "auto")
