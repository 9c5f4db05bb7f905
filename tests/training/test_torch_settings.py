"""``Trainer`` and torch's settings: gradient mode, ``requires_grad``, default dtype, modes of the modules."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from darknet_py import Trainer, TrainOptions
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from darknet_py.training import resume
from tests.helpers import random_networks, synthetic_data, training_runs
from tests.helpers.random_networks import classifier_batch

TEXT = """[net]
width=8
height=8
channels=3
batch=4
max_batches=100
learning_rate=0.1
momentum=0.9
decay=0.01
[conv]
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky
[conv]
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky
[dropout]
probability=.5
[conv]
filters=5
size=3
activation=linear
[avgpool]
[softmax]
"""


def build() -> Network:
    return random_networks.network(TEXT)


def train(network: Network, steps: int = 2, **options: Any) -> dict[str, Tensor]:
    trainer = Trainer(network, options=TrainOptions(**options))
    torch.manual_seed(5)
    for _ in range(steps):
        trainer.step([classifier_batch()])
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@contextmanager
def float64_by_default() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "set_grad_enabled(False)": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "default dtype float64": float64_by_default,
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_iteration_is_the_same_whatever_the_global_settings(setting: str) -> None:
    expected = train(build())
    network = build()
    images, targets = classifier_batch()
    with SETTINGS[setting]():
        inside = (images.clone(), targets.clone())
        trainer = Trainer(network)
        torch.manual_seed(5)
        for _ in range(2):
            trainer.step([inside])
        after = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
        with SETTINGS[setting]():
            assert after == (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "no_grad"])
def test_a_run_with_evaluation_is_the_same_whatever_the_global_settings(
    setting: str, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=3)
    options: dict[str, Any] = {"validate": True, "map_every": 2}
    expected = training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "a", **options).state_dict()
    network = resume.build_network(cfg, seed=3)
    quiet: dict[str, Any] = {"seed": 3, "verbose": False, "workers": 1, "chart": "", "output": tmp_path / "b"}
    with SETTINGS[setting]():
        Trainer(network, rectangles / "tiny.data", TrainOptions(**quiet | options)).run()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_network_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        network = build()
    with pytest.raises(ConfigError, match=r"layers\.0\.biases was created inside torch\.inference_mode"):
        Trainer(network)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_refused_with_the_remedy(dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=r"expected float32\. Call network\.float\(\)"):
        Trainer(build().to(dtype))


def test_a_layer_without_requires_grad_stays_as_with_freeze() -> None:
    expected = train(build(), freeze=1)
    network = build()
    network[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network[0].state_dict().items()}
    state = train(network)
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name
    for name, tensor in before.items():
        assert torch.equal(network[0].state_dict()[name], tensor), name
    assert not any(parameter.requires_grad for parameter in network[0].parameters())
    assert all(parameter.requires_grad for parameter in network[1].parameters())


def test_a_layer_in_the_middle_can_be_frozen() -> None:
    network = build()
    network[1].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    after = train(network)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("layers.1.")}


def test_a_single_frozen_parameter_stays_and_its_layer_keeps_training() -> None:
    network = build()
    network.get_parameter("layers.1.biases").requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    after = train(network)
    assert {name for name in before if torch.equal(before[name], after[name])} == {"layers.1.biases"}
    assert not network.get_parameter("layers.1.biases").requires_grad


def test_dropout_is_active_where_other_layers_are_frozen() -> None:
    """Layers without parameters are not frozen: two iterations with the same weights have other costs."""
    network = build()
    for index in (0, 1):
        network[index].requires_grad_(False)
    trainer = Trainer(network)
    trainer.before_update = network.zero_grad  # no update
    assert trainer.step([classifier_batch()]) != trainer.step([classifier_batch()])


def test_an_unfrozen_layer_is_trained_from_the_next_iteration() -> None:
    network = build()
    network[0].requires_grad_(False)
    trainer = Trainer(network)
    trainer.step([classifier_batch()])
    network[0].requires_grad_(True)
    weights = network.get_parameter("layers.0.weights")
    before = weights.detach().clone()
    velocities = trainer.optimizer.state_dict()["velocity"]
    assert any(bool((tensor == 0).all()) for group in velocities for tensor in group)  # of the frozen layer
    gradients: list[Tensor] = []
    trainer.before_update = lambda: gradients.append(weights.grad.clone())  # type: ignore[union-attr]
    trainer.step([classifier_batch()])
    torch.testing.assert_close(weights.detach(), before + 0.1 / 4 * (-gradients[0] - 0.01 * 4 * before))


def test_filters_of_a_frozen_layer_are_not_reinitialised() -> None:
    network = random_networks.network(TEXT.replace("[conv]", "weights_reject_freq=1\n[conv]", 1))
    weights = network.get_parameter("layers.1.weights")
    with torch.no_grad():
        weights[1] = weights[0]
    network[1].requires_grad_(False)
    before = weights.detach().clone()
    train(network, steps=1)
    assert torch.equal(weights, before)


def test_a_network_that_is_frozen_as_a_whole_is_refused() -> None:
    network = build()
    network.requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        Trainer(network).step([classifier_batch()])
    other = build()
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        Trainer(other, options=TrainOptions(freeze=6)).step([classifier_batch()])
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_gradients_of_the_caller_are_no_part_of_the_update() -> None:
    expected = train(build())
    network = build()
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    state = train(network)
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


def test_the_mode_of_every_module_is_restored() -> None:
    network = build()
    network.train()
    network[1].eval()
    train(network)
    assert network.training
    assert [layer.training for layer in network] == [True, False, True, True, True, True]
