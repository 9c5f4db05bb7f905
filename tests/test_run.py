from __future__ import annotations

import csv
import math
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import loading, snapshots, start, weights
from darknet_py.data import Dataset
from darknet_py.errors import ConfigError, DarknetError, WeightsError
from darknet_py.guard import Guard
from darknet_py.loader import Batch
from darknet_py.loss_scale import LossScale
from darknet_py.network import Network
from darknet_py.snapshots import Snapshots
from darknet_py.team import Team
from darknet_py.trainer import Trainer

from . import rectangles, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("rectangles")
    rectangles.data(place)
    return place


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_network_learns_and_its_files_tell_so(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs it")
    cfg = rectangles.cfg(tmp_path, max_batches=300, steps="150,250", scales=".2,.2")
    out = tmp_path / "out"
    network = start.build(cfg, seed=1)
    torch.set_num_threads(1)
    told = Trainer(network, folder / "tiny.data", seed=1).run(
        out=out, map_every=50, save_every=200, save_last=50, workers=1, progress=False
    )
    log = rows(out / "tiny_log.csv")
    losses = [float(row["avg_loss"]) for row in log]
    scores = [float(row["map"]) for row in log if row["map"]]
    assert [int(row["iteration"]) for row in log] == list(range(1, 301))
    assert losses[-1] < 0.2 * losses[0]
    assert scores[0] < 0.2
    assert scores[-1] > 0.5
    assert told.best == pytest.approx(max(scores), abs=1e-6)
    assert float(log[4]["rate"]) == pytest.approx(0.01 * (5 / 10) ** 2)
    assert log[-1]["images"] == str(300 * 8)
    names = {path.name for path in out.iterdir()}
    kinds = ("200.weights", "last.weights", "last.state.pt", "best.weights", "final.weights", "log.csv")
    assert names == {f"tiny_{kind}" for kind in kinds} | {"chart_tiny.png"}
    assert loading.load(cfg, out / "tiny_final.weights").seen == 300 * 8
    with Image.open(out / "chart_tiny.png") as chart:
        pixels = np.asarray(chart.convert("RGB")).astype(int)
        assert chart.size == (1000, 1000)
    assert ((pixels[..., 2] - pixels[..., 0]) > 150).sum() > 300  # dots of the loss
    assert ((pixels[..., 0] - pixels[..., 2]) > 130).sum() > 300  # the line of mAP


def test_it_ends_when_map_no_longer_rises(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=50, learning_rate=0, burn_in=0)
    network = start.build(cfg, seed=1)
    told = Trainer(network, folder / "tiny.data").run(
        out=tmp_path / "out", map_every=2, patience=2, workers=0, progress=False, chart=""
    )
    assert told.early
    assert told.iteration == 6  # the best is the first, at iteration 2
    assert (tmp_path / "out" / "tiny_final.weights").is_file()


def test_every_iteration_is_made_again_from_seed_and_number(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=4)
    cfg.write_text(cfg.read_text().replace("[yolo]", "[dropout]\nprobability=.3\n[yolo]"))
    first, again = (trained.run(cfg, folder / "tiny.data", out=tmp_path / str(n), workers=n) for n in (0, 2))
    other = trained.run(cfg, folder / "tiny.data", out=tmp_path / "c", seed=4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.state_dict()["layers.0.weights"], other.state_dict()["layers.0.weights"])


def test_torchs_generator_is_left_alone(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    before = torch.random.get_rng_state()
    trained.run(rectangles.cfg(tmp_path, max_batches=2), folder / "tiny.data", out=tmp_path / "out")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("how", [{"recompute": True}, {"channels_last": True}])
def test_memory_is_saved_and_nothing_else_changes(
    how: dict[str, Any], tmp_path: pathlib.Path, folder: pathlib.Path
) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=3)
    cfg.write_text(cfg.read_text().replace("batch_normalize=1", "batch_normalize=2", 1))  # CmBN has a memory
    plain = trained.run(cfg, folder / "tiny.data", out=tmp_path / "a").state_dict()
    other = trained.run(cfg, folder / "tiny.data", out=tmp_path / "b", **how).state_dict()
    for name, tensor in plain.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def test_recomputing_keeps_less(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    from darknet_py.recompute import recomputing

    network = start.build(rectangles.cfg(tmp_path, max_batches=3))
    kept: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    def floats() -> int:
        kept.clear()
        network.train()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            network(torch.rand(2, 3, 64, 64))
        return sum(kept)

    plain = floats()
    with recomputing(network):
        assert floats() < 0.6 * plain
    assert "forward" not in vars(network[0])


def test_bf16_learns_nearly_the_same(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=10)
    losses = []
    for amp in (None, torch.bfloat16):
        network = start.build(cfg, seed=1)
        told = Trainer(network, folder / "tiny.data", seed=1, amp=amp).run(
            out=tmp_path / "out", score=False, workers=0, progress=False, chart=""
        )
        losses.append(told.loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_half_precision_finds_its_scale() -> None:
    scale = LossScale(1.0, half=True)
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
    scale = LossScale(128.0, half=True)
    assert scale.undo([torch.tensor([math.inf])])
    assert scale.factor == 128
    assert LossScale(128.0, half=False).factor == 1


def test_numbers_that_are_none_stop_it(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=60, norm=0)
    values = {"learning_rate": "1e9", "burn_in": "0", "momentum": "0"}
    with pytest.raises(DarknetError) as caught:
        trained.run(cfg, folder / "tiny.data", out=tmp_path / "out", values=values)
    text = str(caught.value)
    assert "[convolutional]" in text
    assert "is not finite" in text
    assert "lower learning_rate (1e+09 now)" in text
    assert not (tmp_path / "out" / "tiny_final.weights").exists()


def test_the_picture_that_spoils_a_training_is_named(tmp_path: pathlib.Path) -> None:
    network = start.build(rectangles.cfg(tmp_path, max_batches=60, norm=0))
    trainer = Trainer(network, guard=lambda: guard.losses(trainer.parts))
    guard = Guard(network, Team())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    good, bad = torch.rand(2, 2, 3, 64, 64)
    bad[1, 0, 5, 5] = math.nan
    truths = [torch.tensor([[0.5, 0.5, 0.2, 0.2, 0.0]])] * 2
    pictures = [[("a.png",), ("b.png",)], [("c.png",), ("d.png",)]]
    guard.batch = Batch(7, (64, 64), [(good, truths), (bad, truths)], pictures)
    guard.saved = "x.state.pt is of iteration 5"
    with pytest.raises(
        DarknetError, match=r"iteration 8: .*the input is the first .* pictures: d\.png\. .*of iteration 5"
    ):
        trainer.step(guard.batch.pairs)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_that_are_none_are_not_saved(tmp_path: pathlib.Path) -> None:
    network = start.build(rectangles.cfg(tmp_path, max_batches=60))
    guard = Guard(network, Team())
    guard.weights()
    with torch.no_grad():
        network.get_parameter("layers.2.weights")[3, 1, 0, 0] = math.inf
    with pytest.raises(DarknetError, match=r"layer 2 \[convolutional\] weights is not finite"):
        guard.weights()


def test_a_backbone_is_known_by_its_end(tmp_path: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=10)
    whole = start.build(cfg, seed=1)
    whole.seen = 640
    for upto, name in ((3, "tiny.conv.3"), (None, "tiny.weights")):
        weights.save(whole, tmp_path / name, upto=upto)
    network = start.build(cfg, seed=2)
    assert weights.fits_upto(network, tmp_path / "tiny.conv.3") == 3
    assert weights.fits_upto(network, tmp_path / "tiny.weights") == 5
    assert "the first 3 of 5 layers" in start.fill(network, tmp_path / "tiny.conv.3")
    assert network.seen == 0
    assert torch.equal(network.get_parameter("layers.2.weights"), whole.get_parameter("layers.2.weights"))
    assert not torch.equal(network.get_parameter("layers.3.weights"), whole.get_parameter("layers.3.weights"))
    assert "all 5 layers, 640 pictures" in start.fill(network, tmp_path / "tiny.weights")
    assert network.seen == 640


def test_weights_that_end_within_a_layer_are_refused(tmp_path: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=10)
    network = start.build(cfg)
    weights.save(network, tmp_path / "w.weights")
    (tmp_path / "w.weights").write_bytes((tmp_path / "w.weights").read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"layer 3 \[convolutional\] weights"):
        start.fill(network, tmp_path / "w.weights")


def test_a_checkpoint_fills_as_weights_do(tmp_path: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=10)
    whole = start.build(cfg, seed=1)
    loading.save(whole, tmp_path / "w.pt", upto=2)
    network = start.build(cfg, seed=2)
    assert "the first 2 of 5" in start.fill(network, tmp_path / "w.pt")
    assert torch.equal(network.get_parameter("layers.1.weights"), whole.get_parameter("layers.1.weights"))


def test_other_values_become_part_of_the_cfg(tmp_path: pathlib.Path) -> None:
    values = start.settings(["max_batches=77", "steps=50,60", "scales = .1,.1"])
    network = start.build(rectangles.cfg(tmp_path, max_batches=10), values=values)
    assert (network.options.max_batches, network.options.steps) == (77, (50, 60))
    assert "max_batches=77" in network.config.text
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        start.settings(["max_batches"])


def test_weights_that_are_done_are_not_trained_on(tmp_path: pathlib.Path) -> None:
    network = start.build(rectangles.cfg(tmp_path, max_batches=10))
    network.seen = 80
    with pytest.raises(WeightsError, match=r"iteration 10 of max_batches=10.*--clear"):
        start.left(network, "w.weights")


def test_a_state_of_another_network_is_refused(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    cfg = rectangles.cfg(tmp_path, max_batches=2)
    trained.run(cfg, folder / "tiny.data", out=tmp_path / "out")
    cfg.write_text(cfg.read_text().replace("filters=16", "filters=12"))
    with pytest.raises(WeightsError, match=r"another network: layers\.1\.biases is \(16,\) there and \(12,\)"):
        trained.run(cfg, folder / "tiny.data", out=tmp_path / "out", resume=tmp_path / "out" / "tiny_last.state.pt")
    shutil.copy(cfg, tmp_path / "no.state.pt")
    with pytest.raises(WeightsError, match="cfg"):
        snapshots.read(tmp_path / "no.state.pt")


def test_a_state_is_plain_data(tmp_path: pathlib.Path, folder: pathlib.Path) -> None:
    trained.run(rectangles.cfg(tmp_path, max_batches=2), folder / "tiny.data", out=tmp_path / "out")
    content = torch.load(tmp_path / "out" / "tiny_last.state.pt", weights_only=True)
    assert content["format"] == snapshots.FORMAT
    assert content["trainer"]["iteration"] == 2
    assert content["seed"] == 3


def test_files_are_named_as_darknets(tmp_path: pathlib.Path) -> None:
    assert snapshots.base("cfg/yolov4-tiny.custom.cfg") == "yolov4-tiny"
    files = Snapshots(tmp_path / "a" / "b", "my")
    assert files.path("best") == tmp_path / "a" / "b" / "my_best.weights"
    assert files.path(2000).name == "my_2000.weights"
    assert files.state.name == "my_last.state.pt"
    with pytest.raises(ConfigError, match="every"):
        Snapshots(tmp_path, "my", every=0)


def test_a_classifier_trains(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    names = []
    for index in range(16):
        kind = ("cat", "dog")[index % 2]
        path = tmp_path / f"{kind}_{index}.png"
        shade = 60 + 120 * (index % 2)
        Image.fromarray(rng.integers(shade, shade + 40, (32, 32, 3), dtype=np.uint8)).save(path)
        names.append(str(path))
    (tmp_path / "list.txt").write_text("\n".join(names))
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    lines = (f"{key} = {tmp_path}/list.txt" for key in ("train", "valid"))
    (tmp_path / "c.data").write_text("\n".join((*lines, f"labels = {tmp_path}/labels.txt", "top = 1")))
    (tmp_path / "c.cfg").write_text(
        "[net]\nwidth=24\nheight=24\nchannels=3\nbatch=8\nmax_batches=30\nlearning_rate=0.05\n"
        "[convolutional]\nfilters=4\nsize=3\nstride=2\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nsize=1\nactivation=linear\n[avgpool]\n[softmax]\n"
    )
    network = start.build(tmp_path / "c.cfg", seed=1)
    told = Trainer(network, tmp_path / "c.data", seed=1).run(
        out=tmp_path / "out", map_every=30, workers=0, progress=False, chart=""
    )
    assert told.best == 1.0


def test_there_must_be_something_to_train_on(tmp_path: pathlib.Path) -> None:
    network = start.build(rectangles.cfg(tmp_path, max_batches=10))
    with pytest.raises(DarknetError, match="nothing to train on"):
        Trainer(network).run(out=tmp_path, progress=False)
    with pytest.raises(DarknetError, match="found none"):
        Trainer(network, Dataset(())).run(out=tmp_path, progress=False, score=False)
    assert isinstance(network, Network)
