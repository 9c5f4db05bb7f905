"""What a run logs and saves as it goes: average loss, time left, files by the clock, the seed of each process."""

from __future__ import annotations

import csv
import pathlib
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from darknet_py import Trainer, TrainOptions
from darknet_py.distributed import ProcessGroup
from darknet_py.training import checkpoints, resume
from darknet_py.training.loggers import loss_plot
from tests.helpers import synthetic_data, training_runs


class Steps:
    """Records the costs of ``Trainer.step`` and torch's seeds, and lets a clock run ``seconds`` at each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> None:
        self.costs: list[float] = []
        self.seeds: list[int] = []
        self.clock = 1000.0
        step = Trainer.step

        def recorded(trainer: Trainer, pairs: Any) -> float:
            self.seeds.append(torch.initial_seed())
            self.costs.append(step(trainer, pairs))
            self.clock += seconds
            return self.costs[-1]

        monkeypatch.setattr(Trainer, "step", recorded)
        if seconds:
            monkeypatch.setattr("time.monotonic", lambda: self.clock)


def log(folder: pathlib.Path) -> list[dict[str, str]]:
    with open(folder / "tiny_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_average_loss_moves_by_a_tenth(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``train_detector``: the loss is the cost per image, its average begins with the first loss."""
    steps = Steps(monkeypatch)
    training_runs.run(synthetic_data.cfg(tmp_path, max_batches=5), rectangles / "tiny.data", output=tmp_path)
    rows = log(tmp_path)
    losses = [cost / 8 for cost in steps.costs]
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses, rel=1e-5)
    averages = [losses[0]]
    for loss in losses[1:]:
        averages.append(averages[-1] * 0.9 + loss * 0.1)
    assert [float(row["avg_loss"]) for row in rows] == pytest.approx(averages, rel=1e-5)
    assert [int(row["images"]) for row in rows] == [8, 16, 24, 32, 40]


def test_the_average_loss_goes_on_after_resuming(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    path = synthetic_data.cfg(tmp_path, max_batches=3)
    training_runs.run(path, rectangles / "tiny.data", output=tmp_path)
    path.write_text(path.read_text().replace("max_batches=3", "max_batches=4"))
    training_runs.run(path, rectangles / "tiny.data", output=tmp_path, resume=tmp_path / "tiny_last.state.pt")
    third, fourth = log(tmp_path)[2:]
    expected = float(third["avg_loss"]) * 0.9 + float(fourth["loss"]) * 0.1
    assert float(fourth["avg_loss"]) == pytest.approx(expected, rel=1e-5)


def test_hours_left_follow_from_the_time_so_far(
    tmp_path: pathlib.Path,
    rectangles: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Steps(monkeypatch, seconds=5400)
    path = synthetic_data.cfg(tmp_path, max_batches=5)
    training_runs.run(path, rectangles / "tiny.data", output=tmp_path, verbose=True)
    lines = re.findall(r"^(\d): .* ([\d.]+) seconds, .* ([\d.]+) hours left", capsys.readouterr().err, re.MULTILINE)
    assert [(int(number), float(hours)) for number, _, hours in lines] == [(1, 6), (2, 4.5), (3, 3), (4, 1.5), (5, 0)]
    assert {float(seconds) for _, seconds, _ in lines} == {5400}


def test_the_state_is_saved_every_ten_minutes(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch, seconds=241)
    saved: list[int] = []
    save_state = checkpoints.CheckpointWriter.save_state

    def recorded(self: checkpoints.CheckpointWriter, *arguments: Any, **options: Any) -> None:
        saved.append(len(steps.costs))
        save_state(self, *arguments, **options)

    monkeypatch.setattr(checkpoints.CheckpointWriter, "save_state", recorded)
    training_runs.run(synthetic_data.cfg(tmp_path, max_batches=8), rectangles / "tiny.data", output=tmp_path)
    assert saved == [3, 6, 8]


class Alone(ProcessGroup):
    """One of several processes, without the others."""

    def all_reduce(self, x: Tensor) -> Tensor:
        return x

    def average_(self, tensors: Any) -> None:
        pass

    def broadcast_(self, tensors: Any) -> None:
        pass

    def all_gather(self, value: Any) -> list[Any]:
        return [value]


def test_layers_draw_other_numbers_in_each_process_and_iteration(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = synthetic_data.cfg(tmp_path, max_batches=3)
    steps = Steps(monkeypatch)
    monkeypatch.setattr("darknet_py.training.engine.create_data_parallel", lambda *_: None)

    def run(rank: int, seed: int) -> list[int]:
        steps.seeds.clear()
        options = TrainOptions(
            seed=seed,
            process_group=Alone(rank, 2),
            output=tmp_path,
            workers=0,
            verbose=False,
            chart="",
            validate=False,
        )
        Trainer(resume.build_network(path), rectangles / "tiny.data", options).run()
        return list(steps.seeds)

    first = run(0, 1)
    assert run(0, 1) == first
    assert len({*first, *run(1, 1), *run(0, 2)}) == 9


def test_max_chart_loss_is_the_top_of_the_chart(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts: list[dict[str, Any]] = []
    monkeypatch.setattr(loss_plot, "draw", lambda *_, **options: charts.append(options))
    path = synthetic_data.cfg(tmp_path, max_batches=2, max_chart_loss=7)
    training_runs.run(path, rectangles / "tiny.data", output=tmp_path, chart=None)
    assert [(chart["max_loss"], chart["max_batches"]) for chart in charts] == [(7, 2)]


def test_clear_starts_at_iteration_0(tmp_path: pathlib.Path) -> None:
    network = resume.build_network(synthetic_data.cfg(tmp_path, max_batches=100))
    network.seen = 800
    assert Trainer(network).iteration == 100
    assert network.seen == 800
    trainer = Trainer(network, clear=True)
    assert (trainer.iteration, network.seen) == (0, 0)
    trainer.step([(torch.rand(4, 3, 64, 64), [torch.tensor([[0.5, 0.5, 0.3, 0.3, 1]])] * 4)] * 2)
    assert (trainer.iteration, network.seen) == (1, 8)
    assert trainer.lr == pytest.approx(0.01 * (1 / 10) ** 2)  # the first of burn_in
