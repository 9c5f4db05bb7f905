"""Every public function on a network in every state: the same results, and the network as it was."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import darknet_py
from darknet_py import cfg, weights
from darknet_py.compare.report import compare_models
from darknet_py.compat.opencv import DetectionModel
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.errors import ConfigError, DarknetError, WeightsError
from darknet_py.evaluation.accuracy import evaluate_accuracy
from darknet_py.network import Network, unwrap
from darknet_py.tiling import TiledDetector
from tests.helpers import data_files
from tests.helpers.network_states import COMPUTED, DETECTOR, LOW_PRECISION, STATES, Wrapped, boxes, image, network


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "": ExitStack,
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "default float64": lambda: default_dtype(torch.float64),
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
}


def inputs(batch: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(1)
    return torch.rand(batch, 3, 32, 32, generator=generator, dtype=torch.float32, device="cpu")


def detect(net: nn.Module, engine: str) -> list[Tensor]:
    return boxes(darknet_py.Detector(net, threshold=0.1, engine=engine)(image()))


def detect_batch(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    x = inputs(2)
    return [row for r in darknet_py.Detector(net, threshold=0.1).batch(x) for row in boxes(r)]


def detect_tiles(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    return boxes(TiledDetector(darknet_py.Detector(net, threshold=0.3, batch=4))(image()))


def detect_opencv(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    model = DetectionModel(net)
    model.setInputParams(1 / 255, (32, 32), swapRB=True)
    return [torch.from_numpy(rows) for rows in model.predict(image())]


def run_optimised(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    x = inputs(2)
    outputs: list[Tensor] = darknet_py.optimise(net)(x)
    return outputs


def evaluate(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    paths = [data_files.write_image(folder / f"{name}.png") for name in "ab"]
    targets = np.array([[0.5, 0.5, 0.4, 0.4, 1]], np.float32)
    data = Dataset([Sample(path, targets, targets[:0]) for path in paths], ("cat", "dog"))
    result = darknet_py.evaluate(net, data, progress=False, workers=0, min_score=0.1)
    found = result.data.detections
    return [torch.from_numpy(np.concatenate((found.boxes, found.confidence[:, None]), axis=1))]


def save(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    darknet_py.save_weights(net, folder / "a.weights")
    darknet_py.save(net, folder / "a.pt")
    (folder / "a.cfg").write_text(unwrap(net).config.text)
    loaded = [darknet_py.load(folder / "a.cfg", folder / "a.weights"), darknet_py.load(folder / "a.pt")]
    return [tensor.float() for each in loaded for tensor in each.state_dict().values()]


def export(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    result = darknet_py.export(net, folder / "a.pt2")
    assert result.runtime == "torch.export"
    x = inputs(1)
    return [y.detach() for y in torch.export.load(folder / "a.pt2").module()(x)]


def classify(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    return [darknet_py.Classifier(net)(image()).probs]


def accuracy(net: nn.Module, folder: pathlib.Path) -> list[Tensor]:
    path = data_files.write_image(folder / "cat.png")
    *_, last = evaluate_accuracy(net, [path], ["cat", "dog", "hen"], workers=0)
    return [torch.tensor([last.top1], dtype=torch.float32, device="cpu")]


FUNCTIONS: dict[str, Callable[[nn.Module, pathlib.Path], list[Tensor]]] = {
    "Detector": lambda net, _: detect(net, "torch"),
    "Detector plain": lambda net, _: detect(net, "plain"),
    "Detector.batch": detect_batch,
    "TiledDetector": detect_tiles,
    "DetectionModel": detect_opencv,
    "optimise": run_optimised,
    "evaluate": evaluate,
    "save": save,
    "Classifier": classify,
    "evaluate_accuracy": accuracy,
}


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything about a module that a function that only reads it must leave."""
    state: dict[str, Any] = {"default": torch.get_default_dtype(), "gradients": torch.is_grad_enabled()}
    state["device"] = str(torch.get_default_device())
    for name, module in model.named_modules():
        hooks = [len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)]
        state[f"{name}()"] = (type(module), module.training, hooks)
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        gradient = None if parameter.grad is None else parameter.grad.clone()
        state[name] = (id(parameter), parameter.dtype, parameter.requires_grad, gradient, parameter.detach().clone())
    return state


def assert_equal(before: Any, after: Any) -> None:
    assert type(before) is type(after)
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_equal(before[key], after[key])
    elif isinstance(before, tuple):
        for one, other in zip(before, after, strict=True):
            assert_equal(one, other)
    elif isinstance(before, Tensor):
        assert torch.equal(before, after)
    else:
        assert before == after


def expected_network(state: str, function: str) -> Network:
    """A plain network of the same weights: what pruning and parametrisation compute, and rounded to the precision."""
    net = network(function)
    if state in COMPUTED:
        torch.manual_seed(5)
        other = unwrap(STATES[state](network(function))).eval()
        prune_or_parametrise = torch.rand(1, *other.shape)
        with torch.no_grad():
            other(prune_or_parametrise)  # runs the hooks
            for name, tensor in net.state_dict().items():
                path, _, attribute = name.rpartition(".")
                tensor.copy_(getattr(other.get_submodule(path), attribute))
    elif state in LOW_PRECISION:
        net = net.to(getattr(torch, {"half": "float16"}.get(state, state))).float()
    return net


EXPECTED: dict[tuple[str, str], list[Tensor]] = {}


def check(function: str, state: str, environment: str, folder: pathlib.Path) -> None:
    run = (FUNCTIONS | {"export": export})[function]
    key = (function, state if state in (*COMPUTED, *LOW_PRECISION) else "")
    if key not in EXPECTED:
        EXPECTED[key] = run(expected_network(state, function), folder)
    expected = EXPECTED[key]
    torch.manual_seed(5)
    model = STATES[state](network(function))
    with ENVIRONMENTS[environment]():
        before = snapshot(model)
        outputs = run(model, folder)
        again = run(model, folder) if state == "training" else outputs
        after = snapshot(model)
    assert_equal(before, after)
    tolerance = LOW_PRECISION.get(state, 1e-4)
    for y, same, right in zip(outputs, again, expected, strict=True):
        assert y.dtype is torch.float32
        assert len(right)
        assert torch.equal(y, same)
        if state in LOW_PRECISION and "Detector" in function:  # rounding moves scores across the threshold
            assert abs(len(y) - len(right)) <= 2 + 0.2 * len(right)
            continue
        assert y.shape == right.shape
        assert float((y - right).abs().max()) <= tolerance * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_accept_and_keep_every_state(function: str, state: str, tmp_path: pathlib.Path) -> None:
    check(function, state, "", tmp_path)


@pytest.mark.parametrize("environment", [name for name in ENVIRONMENTS if name])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_do_not_depend_on_torchs_modes(function: str, environment: str, tmp_path: pathlib.Path) -> None:
    check(function, "training", environment, tmp_path)


@pytest.mark.parametrize(
    ("state", "environment"), [("training", "default float64"), ("half", ""), ("DataParallel", ""), ("pruned", "")]
)
def test_export_accepts_and_keeps_the_state(state: str, environment: str, tmp_path: pathlib.Path) -> None:
    check("export", state, environment, tmp_path)


def test_comparisons_compute_on_the_cpu_whatever_the_default_device(tmp_path: pathlib.Path) -> None:
    darknet_py.save(network("save"), tmp_path / "a.pt")
    with torch.device("meta"):
        report = compare_models(str(tmp_path / "a.pt"), str(tmp_path / "a.pt"))
    assert report.is_same
    assert {layer.difference for layer in report.layers} == {0.0}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_parameters_are_float32_whatever_the_default_dtype(dtype: torch.dtype, tmp_path: pathlib.Path) -> None:
    with default_dtype(dtype):
        net = Network(cfg.loads(DETECTOR, "a.cfg")).initialise()
        assert torch.get_default_dtype() is dtype
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32}
    assert {buffer.dtype for buffer in net.buffers()} <= {torch.float32, torch.int64, torch.bool}


def test_weights_are_loaded_into_wrapped_networks(tmp_path: pathlib.Path) -> None:
    net = network("save")
    weights.save(net, tmp_path / "a.weights")
    other = Network(cfg.loads(DETECTOR, "a.cfg"))
    darknet_py.load_weights(nn.DataParallel(other), tmp_path / "a.weights")
    assert_equal(dict(net.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize("state", ["pruned", "parametrised"])
def test_weights_are_not_lost_in_computed_tensors(state: str, tmp_path: pathlib.Path) -> None:
    weights.save(network("save"), tmp_path / "a.weights")
    darknet_py.save(network("save"), tmp_path / "a.pt")
    net = unwrap(STATES[state](network("save")))
    with pytest.raises(WeightsError, match=r"layer 0 \[conv\] weights: computed by torch.nn.utils.parametrize, prune"):
        darknet_py.load_weights(net, tmp_path / "a.weights")
    content = weights.checkpoint.load(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="computed by"):
        weights.checkpoint.fill(net, content, "a.pt")


def test_trainers_take_wrapped_networks_and_refuse_other_precisions() -> None:
    net = network("save")
    assert darknet_py.Trainer(nn.DataParallel(net)).network is net
    for state in ("half", "bfloat16", "double"):
        with pytest.raises(ConfigError, match=r"is torch.(b?float16|float64): expected float32"):
            darknet_py.Trainer(STATES[state](network("save")))


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.DataParallel(nn.Linear(2, 2)), Wrapped(Wrapped(nn.ReLU()))])
def test_other_modules_are_refused(module: nn.Module) -> None:
    name = type(module).__name__
    for function in (darknet_py.Detector, darknet_py.Classifier, darknet_py.optimise, darknet_py.Trainer):
        with pytest.raises(DarknetError, match=f"expected a Network, or one wrapped by .*, got a {name}"):
            function(module)
