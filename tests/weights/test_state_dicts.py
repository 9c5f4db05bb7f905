"""Files that are read as weights besides checkpoints: states of training runs, and state dicts of networks."""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py import weights
from darknet_py.errors import CheckpointError, WeightsError
from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers import random_networks
from tests.helpers.weights_files import HEAD, TRAINED


def network(text: str = HEAD) -> Network:
    return random_networks.network(text, path="a.cfg")


def test_a_training_state_is_read_as_weights() -> None:
    net = network(TRAINED)
    trainer = Trainer(net)
    net.seen, net.names = 6, ("cat", "dog")
    writer = checkpoints.CheckpointWriter(".", "a")
    writer.save_state(net, trainer.state_dict(), checkpoints.Progress(), 0, {}, {})
    loaded = darknet_py.load("a_last.state.pt")
    assert (loaded.seen, loaded.names, loaded.config.text) == (6, ("cat", "dog"), TRAINED)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(x)[0], net.eval()(x)[0])
    pathlib.Path("a.cfg").write_text(TRAINED)
    assert torch.equal(darknet_py.load("a.cfg", "a_last.state.pt")(x)[0], net(x)[0])
    darknet_py.convert("a_last.state.pt", "b.weights")
    weights.save(net, "c.weights")
    assert pathlib.Path("b.weights").read_bytes() == pathlib.Path("c.weights").read_bytes()


def test_weights_are_not_taken_for_a_training_state() -> None:
    darknet_py.save(network(TRAINED), "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt: expected the state of a training run, found weights only"):
        resume.load_start(network(TRAINED), TrainOptions(resume="a.pt"), ".")


def nested(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "a.b.model."])
def test_state_dicts_of_networks_are_read_by_name(prefix: str, suffix: str) -> None:
    net = network()
    state = {name: tensor.clone() for name, tensor in reversed(net.state_dict().items())}
    path = f"a{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": nested(state, prefix) | {"loss.weight": torch.ones(2)}}, path)
    else:
        library = pytest.importorskip("safetensors.torch", reason="the extra safetensors is not installed")
        library.save_file(nested(state, prefix), path)
    pathlib.Path("a.cfg").write_text(HEAD)
    loaded = darknet_py.load("a.cfg", path)
    converted = darknet_py.convert(path, "b.weights", cfg="a.cfg", by_order=True)
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
        assert torch.equal(converted.state_dict()[name], tensor), name
    with pytest.raises(CheckpointError, match="a state dict has no cfg"):
        darknet_py.load(path)


def test_a_state_dict_of_several_networks_is_refused() -> None:
    state = network().state_dict()
    torch.save(nested(state, "student.") | nested(state, "teacher."), "a.pt")
    pathlib.Path("a.cfg").write_text(HEAD)
    with pytest.raises(CheckpointError, match=r"expected one network, found several: student., teacher."):
        darknet_py.load("a.cfg", "a.pt")


def test_tensors_of_other_layers_are_an_error() -> None:
    net = network()
    pathlib.Path("a.cfg").write_text(HEAD)
    torch.save(net.state_dict() | {"layers.99.weights": torch.ones(3)}, "a.pt")
    with pytest.raises(CheckpointError, match=r"layers.99.weights is not in the network: expected all of one network"):
        darknet_py.load("a.cfg", "a.pt")
    torch.save({name: t for name, t in net.state_dict().items() if "layers.0." not in name}, "part-00002-of-00002.pt")
    with pytest.raises(CheckpointError, match=r"layers.0.\S+ is missing: expected all of one network"):
        darknet_py.load("a.cfg", "part-00002-of-00002.pt")


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema", "net"])
def test_averaged_weights_of_training_programs_are_found(key: str) -> None:
    net = network()
    pathlib.Path("a.cfg").write_text(HEAD)
    torch.save({key: torch.optim.swa_utils.AveragedModel(net).state_dict(), "epoch": 3}, "a.ckpt")
    loaded = darknet_py.load("a.cfg", "a.ckpt")
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_big_endian_files_and_indexes_are_recognised() -> None:
    weights.save(network(), "a.weights")
    content = pathlib.Path("a.weights").read_bytes()
    swapped = np.frombuffer(content[20:], "<f4").astype(">f4").tobytes()
    header = struct.pack(">iiiQ", *struct.unpack("<iiiQ", content[:20]))
    pathlib.Path("big.weights").write_bytes(header + swapped)
    pathlib.Path("model.safetensors.index.json").write_text('{"weight_map": {}}\n' * 9999)
    pathlib.Path("a.cfg").write_text(HEAD)
    with pytest.raises(WeightsError, match="expected Darknet weights, found numbers in big-endian byte order"):
        darknet_py.load("a.cfg", "big.weights")
    with pytest.raises(WeightsError, match="found JSON text, as the index of weights in several files"):
        darknet_py.load("a.cfg", "model.safetensors.index.json")


def test_networks_on_the_meta_device_are_an_error() -> None:
    net = network()
    weights.save(net, "a.weights")
    meta = network().to("meta")
    uses: tuple[Callable[[], object], ...] = (
        lambda: weights.save(meta, "b.weights"),
        lambda: darknet_py.save(meta, "b.pt"),
        lambda: weights.load(meta, "a.weights"),
        lambda: darknet_py.Detector(meta).run,
    )
    for use in uses:
        with pytest.raises(WeightsError, match="has no weights, as it is on the meta device"):
            use()
    assert not pathlib.Path("b.weights").exists()
    loaded = weights.load(meta.to_empty(device="cpu"), "a.weights").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())
