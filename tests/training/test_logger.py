from __future__ import annotations

import csv
import dataclasses
import math
import pathlib

import pytest

from darknet_py.training import resume
from darknet_py.training.callbacks import EndEvent, StartEvent, StepEvent
from darknet_py.training.console import IterationPrinter
from darknet_py.training.loggers import loss_plot
from darknet_py.training.loggers.csv_log import CsvLogger
from darknet_py.training.metrics import IterationMetrics
from tests.helpers import synthetic_data, training_runs


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tensorboard_gets_the_metrics(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    pytest.importorskip("tensorboard", reason="it is written for it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = synthetic_data.cfg(tmp_path, max_batches=3)
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, log="csv,tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "tiny"))
    events.Reload()
    assert {"loss", "avg_loss", "lr", "layer 4/iou"} <= set(events.Tags()["scalars"])
    logged = [float(row["loss"]) for row in rows(tmp_path / "tiny_log.csv")]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(logged)
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]


def test_a_truncated_log_is_repaired(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=3)
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path)
    log = tmp_path / "tiny_log.csv"
    whole = log.read_text()
    log.write_text(whole + whole.splitlines()[-1].replace("3,", "4,", 1) + "\r\n5,0.1")
    cfg.write_text(cfg.read_text().replace("max_batches=3", "max_batches=4"))
    training_runs.run(cfg, rectangles / "tiny.data", output=tmp_path, resume=tmp_path / "tiny_last.state.pt")
    assert [row["iteration"] for row in rows(log)] == ["1", "2", "3", "4"]
    assert log.read_text().startswith(whole.replace("\r\n", "\n"))


def test_the_printed_line_is_darknets_with_the_digits_of_the_rate() -> None:
    parts = {30: {"iou": 0.41234, "count": 12.0}}
    entry = IterationMetrics(7, 12.5, 13.25, 0.001, 1.5, 448, 42.66, 3.456, parts)
    assert entry.lines().splitlines() == [
        "  layer 30: iou 0.4123, count 12",
        "7: 12.500000, 13.250000 avg loss, 0.001 rate, 1.500000 seconds, 448 images, 3.46 hours left, 42.7 images/s",
    ]
    assert ", 1.23457e-08 rate, " in dataclasses.replace(entry, lr=1.234567e-8).lines()


def test_fast_iterations_are_not_all_printed(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=100)
    start = StartEvent("x", tmp_path, 0, 100, False, "mAP", {}, resume.build_network(cfg))
    callbacks = (IterationPrinter(), CsvLogger())
    for callback in callbacks:
        callback.on_start(start)
        for iteration in range(1, 101):
            average = math.nan if iteration == 50 else 1
            callback.on_step(StepEvent(IterationMetrics(iteration, 1, average, 0.1, 0.01, iteration, 1, 0), False))
        callback.on_end(EndEvent(100, "finished", "", 1, None))
    printed = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert printed[0] == "1"
    assert printed[-1] == "100"
    assert len(printed) < 20
    assert len(rows(tmp_path / "x_log.csv")) == 100


def test_the_chart_draws_nan(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="it draws the chart")
    losses = [(iteration, math.nan if iteration % 3 else 5.0) for iteration in range(1, 9000)]
    loss_plot.draw(tmp_path / "c.png", losses, [(100, 0.5)], title="x", text="y", max_batches=9000, max_loss=20)
    assert (tmp_path / "c.png").stat().st_size > 5000
