"""Training on a device gives the CPU's weights, and never mixes tensors of both; on the simulated one without a GPU."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py import Trainer, TrainOptions
from darknet_py.layers import Gradients
from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from tests.helpers import (
    conformance_training,
    devices,
    random_networks,
    reference_values,
    synthetic_data,
    training_runs,
)

# Embeddings of tracked objects, which no reference network has.
TRACKS = """
[conv]
filters=8
size=3
stride=4
pad=1
activation=leaky
[conv]
filters=14
activation=linear
[yolo]
mask=0,1
anchors=4,5,9,8
classes=2
num=2
[route]
layers=-3
[conv]
filters=12
activation=linear
[contrastive]
yolo_layer=-3
"""
NET = "[net]\nwidth=16\nheight=16\nchannels=3\nbatch=4\nmax_batches=20\nlearning_rate=0.01\n"


def references() -> list[Any]:
    return [
        pytest.param(folder, name, id=f"{folder}/{name}", marks=[pytest.mark.slow] if folder == "training_more" else [])
        for folder in ("training", "training_more")
        for name in conformance_training.names(folder)
    ]


def trained(folder: str, name: str, device: str, path: pathlib.Path, **options: Any) -> tuple[Network, list[float]]:
    """Train a reference network for two iterations; return it with its costs."""
    reference = conformance_training.load(folder, name)
    reference_values.write_chunks(reference["chunks"], reference["seed"], path)
    network = darknet_py.load(conformance_training.cfg_path(folder, name), path)
    devices.move(network, device)
    trainer = Trainer(network, options=TrainOptions(**options), clear=True)
    torch.manual_seed(0)
    return network, [trainer.step(pairs) for pairs in conformance_training.mini_batches(reference)[:2]]


@pytest.mark.filterwarnings("ignore::darknet_py.errors.UnusedOptionWarning")
@pytest.mark.parametrize(("folder", "name"), references())
@devices.on_accelerators
def test_reference_networks(folder: str, name: str, device: str, tmp_path: pathlib.Path) -> None:
    expected, costs = trained(folder, name, "cpu", tmp_path / "a.weights")
    network, device_costs = trained(folder, name, device, tmp_path / "a.weights")
    assert device_costs == pytest.approx(costs, rel=1e-3 if device == "cuda" else 1e-5)
    devices.assert_trained_alike(network, expected, device)


def train_on_tracks(device: str, gradients: Gradients) -> Network:
    network = random_networks.network(NET + TRACKS)
    devices.move(network, device)
    trainer = Trainer(network, gradients=gradients)
    boxes = torch.tensor([[0.3, 0.4, 0.3, 0.5, 1.0, 1.0], [0.8, 0.7, 0.2, 0.2, 0.0, 2.0]])
    for seed in range(2):
        trainer.step([(random_networks.random(4, 3, 16, 16, seed=seed, low=0), [boxes] * 4)])
    return network


@pytest.mark.parametrize("gradients", Gradients)
@devices.on_accelerators
def test_embeddings_of_tracks(gradients: Gradients, device: str) -> None:
    expected = train_on_tracks("cpu", gradients)
    devices.assert_trained_alike(train_on_tracks(device, gradients), expected, device)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@devices.on_accelerators
def test_mixed_precision(amp: str, device: str, tmp_path: pathlib.Path) -> None:
    """Convolutions take the lower precision, and weights, losses and updates are float32."""
    expected, costs = trained("training", "yolo_ciou", "cpu", tmp_path / "a.weights", amp=amp)
    network, device_costs = trained("training", "yolo_ciou", device, tmp_path / "a.weights", amp=amp)
    assert device_costs == pytest.approx(costs, rel=1e-2)
    for name, tensor in expected.state_dict().items():
        assert network.state_dict()[name].dtype is torch.float32
        torch.testing.assert_close(network.state_dict()[name].cpu(), tensor, rtol=2e-2, atol=2e-3, msg=name)


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"map_every": 2, "validate": True}),
    "average and adversarial images": ({"ema_alpha": 0.9, "adversarial_lr": 0.1, "burn_in": 1}, {}),
    "adam": ({"adam": 1, "try_fix_nan": 1}, {"gradient_checkpointing": True}),
    # Without batch norm, whose kernel of channels-last maps on CPUs, which the simulated device uses, is less exact.
    "sizes": ({"dynamic_minibatch": 0, "norm": 0}, {"channels_last": True}),
}


@pytest.mark.parametrize("case", RUNS)
@devices.on_accelerators
def test_runs_and_their_files(case: str, device: str, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    keys, options = RUNS[case]
    cfg = synthetic_data.cfg(tmp_path, max_batches=4, batch=4, **keys)
    if case == "sizes":
        cfg.write_text(cfg.read_text() + "random=1\n")
    data = rectangles / "tiny.data"
    options = {"channels_last": False} | options
    expected = training_runs.run(cfg, data, output=tmp_path / "cpu", **options)
    network = resume.build_network(cfg, seed=3)
    devices.move(network, device)
    common: dict[str, Any] = {"verbose": False, "workers": 0, "chart": "", "validate": False, "seed": 3}
    output = tmp_path / device
    Trainer(network, data, TrainOptions(**common | options, output=output)).run()
    devices.assert_trained_alike(network, expected, device)
    state = checkpoints.read_state(output / "tiny_last.state.pt")
    assert all(tensor.device.type == "cpu" for tensor in state.network.values())
    for folder in ("cpu", device):
        loaded = darknet_py.load(cfg, tmp_path / folder / "tiny_final.weights")
        devices.assert_trained_alike(loaded, expected, device)


@devices.on_accelerators
def test_a_run_is_resumed(device: str, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=6, batch=4, ema_alpha=0.9)
    data = rectangles / "tiny.data"
    common: dict[str, Any] = {"verbose": False, "workers": 0, "chart": "", "validate": False, "seed": 3}
    expected = training_runs.run(cfg, data, output=tmp_path / "cpu")

    class Stop(BaseException):
        """Ends a run at once."""

    def stop(event: Any) -> None:
        if event.iteration == 5:
            raise Stop

    output = tmp_path / device
    for options in ({"save_last": 4}, {"resume": output / "tiny_last.state.pt"}):
        network = resume.build_network(cfg, seed=3)
        devices.move(network, device)
        callbacks = () if "resume" in options else training_runs.at_each_step(stop)
        trainer = Trainer(network, data, TrainOptions(**common | options, output=output), callbacks)
        if "resume" in options:
            trainer.run()
            devices.assert_trained_alike(network, expected, device)
        else:
            with pytest.raises(Stop):
                trainer.run()
