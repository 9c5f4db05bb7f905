from __future__ import annotations

import csv
import pathlib
import re
import shutil
import signal
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import cli, loading
from darknet_py.commands import _training
from darknet_py.data.dataset import Dataset
from darknet_py.errors import DarknetError, DataError, WeightsError
from darknet_py.signals import DeferredSignals
from darknet_py.training import checkpoints, resume
from darknet_py.training.trainer import Trainer
from darknet_py.weights import checkpoint
from tests.helpers import synthetic_data, training_runs


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_network_learns_and_the_run_writes_its_files(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs it")
    cfg = synthetic_data.cfg(tmp_path, max_batches=300, steps="150,250", scales=".2,.2")
    out = tmp_path / "out"
    every: dict[str, Any] = {"map_every": 50, "save_every": 200, "save_last": 50}
    _, result = training_runs.train(
        cfg, rectangles / "tiny.data", seed=1, output=out, **every, workers=1, chart=None, validate=True
    )
    log = rows(out / "tiny_log.csv")
    losses = [float(row["avg_loss"]) for row in log]
    scores = [float(row["map"]) for row in log if row["map"]]
    assert [int(row["iteration"]) for row in log] == list(range(1, 301))
    assert losses[-1] < 0.2 * losses[0]
    assert scores[0] < 0.2
    assert scores[-1] > 0.5
    assert result.best == pytest.approx(max(scores), abs=1e-6)
    assert float(log[4]["lr"]) == pytest.approx(0.01 * (5 / 10) ** 2)
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


def test_patience_stops_a_run_whose_map_does_not_improve(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=50, learning_rate=0, burn_in=0)
    _, result = training_runs.train(
        cfg, rectangles / "tiny.data", output=tmp_path / "out", map_every=2, patience=2, validate=True
    )
    assert result.stopped_early
    assert result.iteration == 6  # the best is the first, at iteration 2
    assert (tmp_path / "out" / "tiny_final.weights").is_file()


def test_seed_and_iteration_determine_every_iteration(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=4)
    cfg.write_text(cfg.read_text().replace("[yolo]", "[dropout]\nprobability=.3\n[yolo]"))
    first, again = (
        training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / str(n), workers=n) for n in (0, 2)
    )
    other = training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "c", seed=4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.state_dict()["layers.0.weights"], other.state_dict()["layers.0.weights"])


def test_the_global_random_generator_is_restored(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    before = torch.random.get_rng_state()
    training_runs.run(synthetic_data.cfg(tmp_path, max_batches=2), rectangles / "tiny.data", output=tmp_path / "out")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("memory_options", [{"gradient_checkpointing": True}, {"channels_last": True}])
def test_memory_options_do_not_change_the_weights(
    memory_options: dict[str, Any], tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=3)
    cfg.write_text(cfg.read_text().replace("batch_normalize=1", "batch_normalize=2", 1))  # CmBN has a memory
    plain = training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "a").state_dict()
    other = training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "b", **memory_options).state_dict()
    for name, tensor in plain.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("channels_last", [None, True, False])
def test_weights_and_images_are_channels_last_during_a_run_only(
    channels_last: bool | None,
    tmp_path: pathlib.Path,
    rectangles: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []
    step = Trainer.step

    def record(trainer: Trainer, pairs: Any) -> float:
        weights = trainer.network.get_parameter("layers.1.weights")
        seen.extend(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (weights, pairs[0][0]))
        return step(trainer, pairs)

    monkeypatch.setattr(Trainer, "step", record)
    network = training_runs.run(
        synthetic_data.cfg(tmp_path, max_batches=2),
        rectangles / "tiny.data",
        output=tmp_path,
        channels_last=channels_last,
    )
    assert seen == [channels_last is not False] * 4  # the default is that of a CPU
    assert all(parameter.is_contiguous() for parameter in network.parameters())


def test_gradient_checkpointing_keeps_fewer_activations(rectangles: pathlib.Path, tmp_path: pathlib.Path) -> None:
    from darknet_py.training.gradient_checkpointing import checkpoint_activations

    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=3))
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
    with checkpoint_activations(network):
        assert floats() < 0.6 * plain
    assert "forward" not in vars(network[0])


def test_bf16_learns_nearly_the_same(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=10)
    losses = []
    for amp in (None, "bf16"):
        _, result = training_runs.train(cfg, rectangles / "tiny.data", seed=1, amp=amp, output=tmp_path / "out")
        losses.append(result.loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_a_state_of_another_network_is_refused(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path / "out")
    cfg.write_text(cfg.read_text().replace("filters=16", "filters=12"))
    with pytest.raises(WeightsError, match=r"of another network: layers\.1\.biases is \(16,\) there and \(12,\)"):
        training_runs.run(
            cfg, rectangles / "tiny.data", output=tmp_path / "out", resume=tmp_path / "out" / "tiny_last.state.pt"
        )
    shutil.copy(cfg, tmp_path / "no.state.pt")
    with pytest.raises(WeightsError, match="cfg"):
        checkpoints.read_state(tmp_path / "no.state.pt")


def test_a_state_is_plain_data(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    training_runs.run(synthetic_data.cfg(tmp_path, max_batches=2), rectangles / "tiny.data", output=tmp_path / "out")
    content = torch.load(tmp_path / "out" / "tiny_last.state.pt", weights_only=True)
    assert content["format"] == checkpoint.FORMAT
    assert content["trainer"]["iteration"] == 2
    assert content["seed"] == 3


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
    _, result = training_runs.train(
        tmp_path / "c.cfg", tmp_path / "c.data", seed=1, output=tmp_path / "out", map_every=30, validate=True
    )
    assert (result.best, result.score_name) == (1.0, "top-1")


def test_there_must_be_something_to_train_on(tmp_path: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=10)
    with pytest.raises(DarknetError, match="nothing to train on"):
        training_runs.run(cfg, None, output=tmp_path)
    with pytest.raises(DarknetError, match="found none"):
        training_runs.run(cfg, Dataset(()), output=tmp_path)


def test_darknets_command_trains(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2)
    torch.set_num_threads(1)
    line = ["detector", "train", str(rectangles / "tiny.data"), str(cfg), "-map", "-dont_show", "-i", "-1"]
    assert cli.main([*line, "-chart", str(tmp_path / "my.png")]) == 0
    printed = capsys.readouterr()
    number = r"\d+\.\d{6}"
    lines = re.findall(
        rf"\n (\d): {number}, {number} avg loss, {number} rate, {number} seconds, (\d+) images, {number} hours left\n",
        printed.out,
    )
    assert lines == [("1", "8"), ("2", "16")]  # Darknet's lines on Darknet's stream, for every iteration
    assert "\ndone: iteration 2, " in printed.out
    head = rf"^v3 \(iou loss, Normalizer: \(.*\) Region \d+ Avg \(IOU: {number}\), count: \d+, class_loss = "
    assert re.search(head, printed.err, re.MULTILINE)
    assert printed.out.endswith(f"; {rectangles / 'backup' / 'tiny_final.weights'}\n")
    assert "40 images; iterations 1 to 2; 8 images of 64 x 64 in 2 mini-batches per iteration; on cpu" in printed.err
    assert "mAP " in printed.err
    assert (rectangles / "backup" / "tiny_best.weights").is_file()  # where backup= of the .data file says


def test_a_cfg_for_inference_is_refused(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=2, batch=1)
    assert cli.main(["train", str(rectangles / "tiny.data"), str(cfg), "--output", str(tmp_path)]) == 1
    assert "batch=1 is for inference" in capsys.readouterr().err


def test_gpus_are_numbers() -> None:
    assert _training.parse_gpus("0, 1,3") == [0, 1, 3]
    assert _training.parse_gpus(None) == []
    with pytest.raises(DataError, match="0,1"):
        _training.parse_gpus("all")


def test_the_second_ctrl_c_raises_at_once() -> None:
    calls: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with DeferredSignals(lambda: calls.append(1)) as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.received
        assert calls == [1]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
