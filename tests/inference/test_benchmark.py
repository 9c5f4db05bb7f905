"""The benchmark measures what it says: every step once, every run in turn, shares that add up."""

from __future__ import annotations

import json
import pathlib

import pytest
import torch

from darknet_py import cli
from darknet_py.inference import benchmark
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


def test_every_layer_is_in_one_row(net: Network) -> None:
    rows = benchmark.layers(net, random_networks.random(5, 3, 32, 32), repeats=2)
    assert [row.layers for row in rows] == [(0,), (1, 2), (3,)]
    assert [row.name for row in rows] == ["conv", "conv+shortcut", "maxpool"]
    assert all(row.ms > 0 for row in rows)
    first = rows[0]
    assert first.rate == pytest.approx(5 * net[0].flops / 1e6 / first.ms)


def test_parts_of_a_batch_are_added_up(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random_networks.random(8, 3, 32, 32)
    monkeypatch.setattr("darknet_py.inference.fused_network._CACHE", 0)  # an image at a time
    ticks = iter(range(10**6))
    monkeypatch.setattr(benchmark, "_now", lambda _x: float(next(ticks)))  # every measurement takes one second
    assert [row.ms for row in benchmark.layers(net, x, repeats=3)] == [8000.0] * 3


def test_runs_take_turns() -> None:
    order: list[str] = []
    runs = {"a": lambda _x: order.append("a"), "b": lambda _x: order.append("b")}
    found = benchmark.interleaved(runs, torch.zeros(1), repeats=3, warm=1)
    assert "".join(order) == "aabb" * 4
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}


def test_rates_of_the_machine_are_of_its_order(net: Network) -> None:
    rates = benchmark.rates(net, repeats=1)
    assert len(rates) == 4
    assert all(0.1 < rate < 1e6 for rate in rates.values())


@pytest.fixture
def path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(benchmark, "rates", lambda _network, dtype: {"convolution": 100.0, "matrix product": 50.0})
    (tmp_path / "a.cfg").write_text(TEXT)
    return str(tmp_path / "a.cfg")


def test_the_verb_prints_tables(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", path, "--repeats", "1", "--no-peers", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "1+2  conv+shortcut" in out
    assert "the machine's best is 100 GFLOP/s" in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["torch", "plain"]


def test_the_verb_prints_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--repeats 1 --no-peers --device cpu --json - --batch 2 --imgsz 16 8"
    assert cli.main(["benchmark", path, *line.split()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["input"] == [2, 3, 8, 16]
    assert sum(row["share"] for row in report["layers"]) == pytest.approx(1)
    run = report["runs"]["torch"]
    assert run["images"] == pytest.approx(2000 / run["ms"])
    assert run["of_best"] == pytest.approx(report["gflop"] / run["ms"] * 1000 / 100)


@pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY}: Debian's package darknet is not installed")
def test_a_c_library_takes_its_turn(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"--repeats 1 --no-peers --device cpu --json - --batch 2 --darknet {LIBRARY}"
    assert cli.main(["benchmark", path, *line.split()]) == 0
    assert json.loads(capsys.readouterr().out)["runs"]["darknet"]["ms"] > 0


def test_what_is_no_darknet_library_is_refused(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", path, "--repeats", "1", "--no-peers", "--device", "cpu", "--darknet", path]) == 1
    assert "not a darknet library" in capsys.readouterr().err
