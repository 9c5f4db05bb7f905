from __future__ import annotations

import math
import pathlib

import pytest
import torch

from darknet_py.errors import DarknetError
from darknet_py.training import resume
from darknet_py.training.distributed import ProcessGroup
from darknet_py.training.loader import Batch
from darknet_py.training.loss_scale import GradScaler
from darknet_py.training.nan_check import NaNCheck
from darknet_py.training.trainer import Trainer
from tests.helpers import synthetic_data, training_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("rectangles")
    synthetic_data.data(place)
    return place


def test_half_precision_finds_its_scale() -> None:
    scale = GradScaler(1.0, half=True)
    first = scale.factor
    assert scale.undo([torch.full((3,), first)])
    gradient = torch.full((3,), 8 * first)
    assert scale.undo([gradient])
    assert torch.equal(gradient, torch.full((3,), 8.0))
    assert not scale.undo([torch.tensor([1.0, math.inf])])
    assert scale.factor == first / 2
    for _ in range(500):
        assert scale.undo([torch.ones(1)])
    assert scale.factor == first


def test_a_scale_of_the_cfg_stays() -> None:
    scale = GradScaler(128.0, half=True)
    assert scale.undo([torch.tensor([math.inf])])
    assert scale.factor == 128
    assert GradScaler(128.0, half=False).factor == 1


def test_numbers_that_are_none_stop_it(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=60, norm=0)
    values = {"learning_rate": "1e9", "burn_in": "0", "momentum": "0"}
    with pytest.raises(DarknetError) as caught:
        training_runs.run(cfg, folder / "tiny.data", out=tmp_path / "out", values=values)
    text = str(caught.value)
    assert "[convolutional]" in text
    assert "is not finite" in text
    assert "lower learning_rate (1e+09 now)" in text
    assert not (tmp_path / "out" / "tiny_final.weights").exists()


def test_the_image_that_spoils_a_training_is_named(tmp_path: pathlib.Path) -> None:
    network = resume.build(synthetic_data.cfg(tmp_path, max_batches=60, norm=0))
    guard = NaNCheck(network, ProcessGroup())
    trainer = Trainer(network)
    trainer.guard = lambda: guard.losses(trainer.parts)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    good, bad = torch.rand(2, 2, 3, 64, 64)
    bad[1, 0, 5, 5] = math.nan
    targets = [torch.tensor([[0.5, 0.5, 0.2, 0.2, 0.0]])] * 2
    images: list[list[tuple[str, ...]]] = [[("a.png",), ("b.png",)], [("c.png",), ("d.png",)]]
    guard.batch = Batch(7, (64, 64), [(good, targets), (bad, targets)], images)
    guard.saved = "x.state.pt is of iteration 5"
    with pytest.raises(
        DarknetError, match=r"iteration 8: .*the input is the first .* images: d\.png\. .*of iteration 5"
    ):
        trainer.step(guard.batch.pairs)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_that_are_none_are_not_saved(tmp_path: pathlib.Path) -> None:
    network = resume.build(synthetic_data.cfg(tmp_path, max_batches=60))
    guard = NaNCheck(network, ProcessGroup())
    guard.weights()
    with torch.no_grad():
        network.get_parameter("layers.2.weights")[3, 1, 0, 0] = math.inf
    with pytest.raises(DarknetError, match=r"layer 2 \[convolutional\] weights is not finite"):
        guard.weights()
