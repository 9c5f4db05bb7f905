"""The GPU run is rehearsed on the CPU, so that no minute of a GPU is lost to a mistake in its scripts."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_measurements
from tests.helpers import paths

NETWORK = """
[net]
width=32
height=32
channels=3
batch=2
max_batches=10
[conv]
filters=8
size=3
stride=4
pad=1
batch_normalize=1
activation=mish
[conv]
filters=14
activation=linear
[yolo]
mask=0,1
anchors=9,9,14,14
classes=2
num=2
"""


def arguments(tmp_path: pathlib.Path) -> list[str]:
    cfg = tmp_path / "small.cfg"
    cfg.write_text(NETWORK)
    options = ["--batches", "2", "--precisions", "fp32", "bf16", "--training-batch", "2", "--repeats", "2"]
    networks = ["--networks", str(cfg), "--training", str(cfg), "--compile", str(cfg)]
    return [str(tmp_path / "out"), *networks, *options, "--device", "cpu"]


def measured(tmp_path: pathlib.Path, *options: str) -> dict[str, Any]:
    assert gpu.main([*arguments(tmp_path), *options]) == 0
    results: dict[str, Any] = json.loads((tmp_path / "out" / "results.json").read_text())
    return results


@pytest.mark.filterwarnings("ignore")
def test_measurements_fail_and_are_skipped_by_name(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = measured(tmp_path, "--compile-seconds", "-1")
    rows = {(row["precision"], row["mode"]): row for row in results["inference"]}
    assert len(rows) == 6
    for precision, limit in (("fp32", 1e-5), ("bf16", 0.05)):
        for mode in ("plain", "fused"):
            row = rows[precision, mode]
            assert row["ms"] > 0
            assert row["of_peak"] > 0
            assert (0 if precision == "fp32" else 1e-5) <= row["rms"] < limit
            assert row["boxes"] == 1 or precision == "bf16"
    assert "graph: needs a stateless network on a CUDA device" in rows["fp32", "graph"]["error"]
    assert [row["skipped"] for row in results["compile"]] == ["out of time"]
    trained = {row["options"]: row for row in results["training"]}
    kinds = ("", ", channels_last", ", gradient_checkpointing")
    assert list(trained) == [f"{precision}{kind}" for precision in ("fp32", "amp") for kind in kinds]
    assert all(row["images_per_second"] > 0 for row in trained.values())
    assert all(row["mini_batch"] == 2 for row in trained.values())
    out = capsys.readouterr().out
    assert "## training" in out
    assert "error" in out


def test_the_networks_of_the_tables_are_in_the_checkout() -> None:
    assert [gpu_measurements.load(name, None).shape.width for name in gpu.NETWORKS] == [416, 608, 640]


def test_a_measurement_stops_between_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr(gpu_measurements, "time", clock)

    def run() -> None:
        now[0] += 5

    deadline = gpu_measurements.Deadline(12)
    assert gpu_measurements.time_runs(run, "cpu", 1, 100, deadline) == [5, 5]
    assert now == [15]
    with pytest.raises(gpu_measurements.OutOfTime):
        gpu_measurements.time_runs(run, "cpu", 3, 100, gpu_measurements.Deadline(12))
    assert now == [30]
    assert gpu.attempt(lambda _: {"ms": 1}, deadline) == {"skipped": "out of time"}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
def test_a_measurement_that_does_not_stop_is_interrupted() -> None:
    start, handler = time.monotonic(), signal.getsignal(signal.SIGALRM)

    def never_ends(_: object) -> dict[str, Any]:
        while True:
            try:
                time.sleep(60)
            except Exception:  # as a compiler that goes on without the part that failed
                continue

    assert gpu.attempt(never_ends, gpu_measurements.Deadline(0.1), 0.1) == {"skipped": "out of time"}
    assert time.monotonic() - start < 10
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_training_takes_the_largest_mini_batch_that_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def iterate(network: object, options: object, args: argparse.Namespace, subdivisions: int, _: object) -> Any:
        if subdivisions < 4:
            raise torch.OutOfMemoryError
        return {"mini_batch": args.training_batch // subdivisions}

    monkeypatch.setattr(gpu_measurements, "time_iterations", iterate)
    (tmp_path / "a.cfg").write_text(NETWORK)
    args = argparse.Namespace(size=None, training_batch=8, device="cpu")
    deadline = gpu_measurements.Deadline(60)
    assert gpu_measurements.time_training(str(tmp_path / "a.cfg"), {}, args, deadline) == {"mini_batch": 2}
    args.training_batch = 2
    row = gpu.attempt(lambda each: gpu_measurements.time_training(str(tmp_path / "a.cfg"), {}, args, each), deadline)
    assert "OutOfMemoryError" in row["error"]


def test_goals_are_judged_by_the_best_mode(tmp_path: pathlib.Path) -> None:
    row = {"network": "yolov4.cfg", "size": 608, "precision": "fp16"}
    rows = [
        row | {"batch": 1, "ms": 2.5},
        row | {"batch": 32, "of_peak": 0.3},
        row | {"batch": 1, "skipped": "out of time"},
    ]
    rows += [row | {"network": "yolov4-tiny.cfg", "batch": 1, "ms": 0.1}, row | {"size": 64, "batch": 1, "ms": 0.1}]
    assert gpu.goals({"inference": rows, "compile": [row | {"batch": 1, "ms": 1.9}]}) == [
        "",
        "yolov4 608 fp16 batch 1: ms 1.9, goal below 2.0: met",
        "",
        "yolov4 608 fp16 batch 32: of_peak 0.3, goal at least 0.4: missed",
    ]


def test_tests_without_time_are_skipped_by_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import pytest\n@pytest.mark.gpu\n@pytest.mark.parametrize('case', 'ab')\ndef test_it(case):\n    assert 0\n"
    )
    command = [sys.executable, "-m", "benchmarks.gpu_tests"]
    for seconds, code, text in (("-1", 0, "out of time: test_one.py::test_it[b]"), ("60", 1, "2 failed")):
        line = [*command, seconds, str(tmp_path / "test_one.py")]
        result = subprocess.run(line, capture_output=True, text=True, check=False, cwd=paths.ROOT)
        assert (result.returncode, text in result.stdout) == (code, True), result.stdout + result.stderr


@pytest.mark.slow
def test_the_script(tmp_path: pathlib.Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(paths.ROOT / "benchmarks" / "gpu.sh"), *arguments(tmp_path), "--compile-seconds", "-1"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" in (tmp_path / "out" / "tests.txt").read_text()
    assert (tmp_path / "out" / "results.md").stat().st_size
