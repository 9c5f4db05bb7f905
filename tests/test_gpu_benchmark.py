"""The GPU run is rehearsed on the CPU, so that no minute of a GPU is lost to a mistake in its scripts."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import gpu
from darknet_py.inference import benchmark
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
    return [str(tmp_path / "out"), "--networks", str(cfg), "--training", str(cfg), *options, "--device", "cpu"]


@pytest.mark.filterwarnings("ignore")
def test_measurements_fail_and_are_skipped_by_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "measure_peaks", lambda *_, **__: {"convolution": 100.0})
    gpu.measure_peak.cache_clear()
    assert gpu.main([*arguments(tmp_path), "--compile-seconds", "-1"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {(row["precision"], row["mode"]): row for row in results["inference"]}
    for row in (rows["fp32", "plain"], rows["fp32", "fused"]):
        assert row["ms"] > 0
        assert row["rms"] < 1e-5
        assert row["boxes"] == 1
    assert rows["bf16", "plain"]["skipped"] == "the plain network is float32"
    assert "graph: needs a stateless network on a CUDA device" in rows["fp32", "graph"]["error"]
    assert results["compile"] == [row | {"skipped": "out of time"} for row in results["compile"]]
    trained = {row["options"]: row for row in results["training"]}
    assert set(trained) == set(gpu.TRAINING)
    assert trained["fp32"]["images_per_second"] > 0
    assert "## training" in capsys.readouterr().out
    gpu.measure_peak.cache_clear()


@pytest.mark.slow
def test_the_script(tmp_path: pathlib.Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(paths.ROOT / "benchmarks" / "gpu.sh"), *arguments(tmp_path), "--compile-seconds", "-1"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" in (tmp_path / "out" / "tests.txt").read_text()
    assert (tmp_path / "out" / "results.md").stat().st_size
