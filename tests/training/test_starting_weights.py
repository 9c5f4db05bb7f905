from __future__ import annotations

import pathlib

import pytest
import torch

from darknet_py import Trainer, loading, weights
from darknet_py.errors import ConfigError, WeightsError
from darknet_py.training import checkpoints, resume
from darknet_py.training.checkpoints import CheckpointWriter
from tests.helpers import synthetic_data


def test_a_backbone_is_recognised_by_its_length(tmp_path: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=10)
    whole = resume.build_network(cfg, seed=1)
    whole.seen = 640
    for upto, name in ((3, "tiny.conv.3"), (None, "tiny.weights")):
        weights.save(whole, tmp_path / name, upto=upto)
    network = resume.build_network(cfg, seed=2)
    assert weights.count_filled_layers(network, tmp_path / "tiny.conv.3") == 3
    assert weights.count_filled_layers(network, tmp_path / "tiny.weights") == 5
    assert "the first 3 of 5 layers" in resume.load_weights(network, tmp_path / "tiny.conv.3")
    assert network.seen == 0
    assert torch.equal(network.get_parameter("layers.2.weights"), whole.get_parameter("layers.2.weights"))
    assert not torch.equal(network.get_parameter("layers.3.weights"), whole.get_parameter("layers.3.weights"))
    assert "all 5 layers, 640 images" in resume.load_weights(network, tmp_path / "tiny.weights")
    assert network.seen == 640


def test_weights_that_end_within_a_layer_are_refused(tmp_path: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=10)
    network = resume.build_network(cfg)
    weights.save(network, tmp_path / "w.weights")
    (tmp_path / "w.weights").write_bytes((tmp_path / "w.weights").read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"layer 3 \[convolutional\] weights"):
        resume.load_weights(network, tmp_path / "w.weights")


def test_a_checkpoint_is_loaded_like_weights(tmp_path: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=10)
    whole = resume.build_network(cfg, seed=1)
    loading.save(whole, tmp_path / "w.pt", upto=2)
    network = resume.build_network(cfg, seed=2)
    assert "the first 2 of 5" in resume.load_weights(network, tmp_path / "w.pt")
    assert torch.equal(network.get_parameter("layers.1.weights"), whole.get_parameter("layers.1.weights"))


def test_overridden_values_become_part_of_the_cfg(tmp_path: pathlib.Path) -> None:
    values = resume.parse_settings(["max_batches=77", "steps=50,60", "scales = .1,.1"])
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=10), values=values)
    assert (network.options.max_batches, network.options.steps) == (77, (50, 60))
    assert "max_batches=77" in network.config.text
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        resume.parse_settings(["max_batches"])


def test_a_finished_training_is_refused(tmp_path: pathlib.Path) -> None:
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=10))
    network.seen = 80
    with pytest.raises(ConfigError, match=r"iteration 10 of max_batches=10: nothing is left to train.*--clear"):
        Trainer(network, tmp_path).run()


def test_files_are_named_as_darknets(tmp_path: pathlib.Path) -> None:
    assert checkpoints.checkpoint_name("cfg/yolov4-tiny.custom.cfg") == "yolov4-tiny"
    files = CheckpointWriter(tmp_path / "a" / "b", "my")
    assert files.path("best") == tmp_path / "a" / "b" / "my_best.weights"
    assert files.path(2000).name == "my_2000.weights"
    assert files.state.name == "my_last.state.pt"
    with pytest.raises(ConfigError, match="every"):
        CheckpointWriter(tmp_path, "my", every=0)
