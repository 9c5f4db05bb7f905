"""Benchmarks: every layer is timed once, runs are interleaved, and the report is consistent."""

from __future__ import annotations

import json
import pathlib

import pytest
import torch

from darknet_py import cli
from darknet_py.inference import benchmark, timing
from darknet_py.network import Network
from tests.helpers import random_networks

LIBRARY = pathlib.Path("/usr/lib/darknet/libdarknet.so")
TEXT = """
[net]
width=32
height=32
channels=3
[conv]
filters=16
size=3
pad=1
activation=leaky
[conv]
filters=16
size=3
pad=1
activation=linear
[shortcut]
from=-2
[maxpool]
stride=2
"""


@pytest.fixture
def net() -> Network:
    return random_networks.network(TEXT)


def test_every_layer_is_timed_once(net: Network) -> None:
    timings = benchmark.time_layers(net, random_networks.random(5, 3, 32, 32), repeats=2)
    assert [row.layers for row in timings] == [(0,), (1, 2), (3,)]
    assert [row.sections for row in timings] == ["conv", "conv+shortcut", "maxpool"]
    assert all(row.ms > 0 for row in timings)
    first = timings[0]
    assert first.gflops == pytest.approx(5 * net[0].flops / 1e6 / first.ms)


def test_times_of_the_passes_of_a_batch_are_summed(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random_networks.random(8, 3, 32, 32)
    monkeypatch.setattr("darknet_py.inference.fused_network._CACHE", 0)  # one image per pass
    ticks = iter(range(10**6))
    monkeypatch.setattr(benchmark, "now", lambda _x: float(next(ticks)))  # every step takes one second
    assert [row.ms for row in benchmark.time_layers(net, x, repeats=3)] == [8000.0] * 3


def test_runs_are_interleaved() -> None:
    order: list[str] = []
    runs = {"a": lambda _x: order.append("a"), "b": lambda _x: order.append("b")}
    times = timing.time_interleaved(runs, torch.zeros(1), repeats=3, warmup=1, seconds=0)
    assert "".join(order) == "ab" + "aabb" + "bbaa" + "aabb"  # warm-up, then an untimed and a timed call of each
    assert {name: len(ms) for name, ms in times.items()} == {"a": 3, "b": 3}


def test_a_short_call_is_repeated_for_the_time_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([9.0, 1.0, 5.0, 2.0])  # of the calls: the first is not timed
    now = [0.0]

    def run(_x: torch.Tensor) -> None:
        now[0] += next(seconds)

    monkeypatch.setattr(timing, "now", lambda _x, _clock: now[0])
    assert timing.time_interleaved({"a": run}, torch.zeros(1), repeats=1, warmup=0, seconds=8) == {"a": [2000.0]}
    assert next(seconds, None) is None


def test_peaks_are_plausible(net: Network) -> None:
    peaks = benchmark.measure_peaks(net, repeats=1)
    assert len(peaks) == 4
    assert all(0.1 < gflops < 1e6 for gflops in peaks.values())


@pytest.fixture
def path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    peaks = {"convolution": 100.0, "matrix product": 50.0}
    monkeypatch.setattr(benchmark, "measure_peaks", lambda _network, dtype: peaks)
    (tmp_path / "a.cfg").write_text(TEXT)
    return str(tmp_path / "a.cfg")


def test_the_command_prints_tables(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", path, "--repeats", "1", "--no-runtimes", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "1+2  conv+shortcut" in out
    assert "peak of this machine: 100 GFLOP/s" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["torch", "graph", "plain"]


def test_the_command_writes_json_to_stdout(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--repeats 1 --no-runtimes --device cpu --json - --batch 2 --imgsz 16 8"
    assert cli.main(["benchmark", path, *line.split()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["input"] == [2, 3, 8, 16]
    assert sum(row["share"] for row in report["layers"]) == pytest.approx(1)
    run = report["runs"]["torch"]
    assert run["images_per_second"] == pytest.approx(2000 / run["ms"])
    assert run["of_peak"] == pytest.approx(report["gflop"] / run["ms"] * 1000 / 100)


@pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY}: Debian's package darknet is not installed")
def test_a_c_library_is_timed(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"--repeats 1 --no-runtimes --device cpu --json - --batch 2 --darknet {LIBRARY}"
    assert cli.main(["benchmark", path, *line.split()]) == 0
    assert json.loads(capsys.readouterr().out)["runs"]["darknet"]["ms"] > 0


def test_other_files_than_a_darknet_library_are_refused(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", path, "--repeats", "1", "--no-runtimes", "--device", "cpu", "--darknet", path]) == 1
    assert "not a darknet library" in capsys.readouterr().err
