"""Weights that contain NaN or Inf: counted by layer, reported by every reader, and not passed on."""

from __future__ import annotations

import math
import pathlib
import warnings

import pytest
import torch

import darknet_py
from darknet_py import cli, weights
from darknet_py.errors import WeightsError, WeightsWarning
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.data_files import write_image
from tests.helpers.weights_files import HEAD

PROBLEM = r"2 NaN, 1 Inf: layer 0 \[conv\] 2 NaN, layer 3 \[conv\] 1 Inf"


@pytest.fixture
def damaged(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network with two NaN and one Inf, saved to ``a.cfg`` and ``a.weights`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.cfg").write_text(HEAD)
    net = random_networks.network(HEAD)
    with torch.no_grad():
        net.get_parameter("layers.0.weights")[3, 1, 1, :2] = math.nan
        net.get_parameter("layers.3.biases")[5] = -math.inf
    weights.save(net, "a.weights", allow_non_finite=True)
    return net


def test_nan_and_inf_are_counted_by_layer(damaged: Network) -> None:
    expected = {"layer 0 [conv]": (2, 0), "layer 3 [conv]": (0, 1)}
    assert weights.count_non_finite(weights.stored(damaged)) == expected
    assert weights.count_non_finite(weights.stored(damaged.double())) == expected
    assert not weights.count_non_finite(weights.stored(random_networks.network(HEAD)))


def test_loading_warns(damaged: Network) -> None:
    with pytest.warns(WeightsWarning, match=f"^a.weights: the weights contain {PROBLEM}"):
        net = darknet_py.load("a.cfg", "a.weights")
    with pytest.warns(WeightsWarning, match="^a.weights: the weights contain 2 NaN: layer 0"):
        darknet_py.load("a.cfg", "a.weights", upto=2)
    for path in ("b.pt", "b.safetensors"):
        darknet_py.save(net, path, allow_non_finite=True)
        with pytest.warns(WeightsWarning, match=f"^{path}: the weights contain {PROBLEM}"):
            darknet_py.load(path)


def test_check_reports_them_as_an_error(damaged: Network, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "a.cfg", "a.weights"]) == 1
    assert "wrong  a.weights: the weights contain 2 NaN, 1 Inf: layer 0 [conv] 2 NaN" in capsys.readouterr().out


def test_convert_refuses_them_unless_told(damaged: Network, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "a.weights", "b.pt", "--cfg", "a.cfg"]
    assert cli.main(command) == 1
    assert "expected numbers (allow_non_finite=True, --allow-non-finite: accept them)" in capsys.readouterr().err
    assert not pathlib.Path("b.pt").exists()
    assert cli.main([*command, "--allow-non-finite"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeightsWarning)
        darknet_py.convert("b.pt", "c.weights", allow_non_finite=True)
    assert pathlib.Path("c.weights").read_bytes() == pathlib.Path("a.weights").read_bytes()


@pytest.mark.parametrize("path", ["b.weights", "b.pt", "b.safetensors"])
def test_writers_refuse_them_unless_told(damaged: Network, path: str) -> None:
    for upto, problem in ((None, PROBLEM), (2, r"2 NaN: layer 0 \[conv\] 2 NaN; expected numbers \(allow")):
        with pytest.raises(WeightsError, match=f"^made.cfg: the weights contain {problem}"):
            darknet_py.save(damaged, path, upto=upto)
    assert not pathlib.Path(path).exists()
    torch.nn.init.zeros_(damaged.get_parameter("layers.0.weights"))
    darknet_py.save(damaged, path, upto=2)  # the Inf is in a later layer


@pytest.mark.parametrize(
    "line",
    [
        "partial a.cfg a.weights OUT 2",
        "partial a.cfg a.weights OUT 2 -i -1",
        "average a.cfg OUT a.weights a.weights",
        "rescale a.cfg a.weights OUT",
        "reset a.cfg a.weights OUT",
    ],
)
def test_commands_that_write_weights_refuse_them(
    damaged: Network, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 1
    assert "the weights contain 2 NaN" in capsys.readouterr().err
    assert not pathlib.Path("OUT").exists()
    if line.endswith("OUT 2"):
        assert cli.main([*line.split(), "--allow-non-finite"]) == 0


def test_commands_that_use_weights_refuse_them_unless_told(
    damaged: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(pathlib.Path("a.png"))
    pathlib.Path("a.txt").write_text("0 .5 .5 .2 .2\n")
    pathlib.Path("list.txt").write_text("a.png\n")
    pathlib.Path("d.data").write_text("classes=1\nvalid=list.txt\n")
    for line in (
        "detect a.cfg a.weights a.png",
        "evaluate a.cfg a.weights d.data",
        "detector test d.data a.cfg a.weights a.png",
        "detector map d.data a.cfg a.weights",
        "detector valid d.data a.cfg a.weights",
        "detector demo d.data a.cfg a.weights a.mp4",
    ):
        assert cli.main(line.split()) == 1
        message = capsys.readouterr().err.strip()
        assert message.startswith("darknet-py: a.weights: the weights contain 2 NaN, 1 Inf")
        advice = "" if "detector" in line else " (--allow-non-finite accepts them)"
        assert message.endswith(f"expected numbers{advice}")
    assert cli.main(["detect", "a.cfg", "a.weights", "a.png", "--allow-non-finite"]) == 0


def test_export_refuses_them_unless_told(damaged: Network) -> None:
    with pytest.raises(WeightsError, match=PROBLEM):
        darknet_py.export(damaged, "a.pt2")
    assert not pathlib.Path("a.pt2").exists()
    result = darknet_py.export(damaged, "a.pt2", allow_non_finite=True)
    assert str(result) == "a.pt2: not verified, the weights contain NaN or Inf"
    assert math.isnan(result.max_abs_difference)


def test_a_damaged_network_does_not_equal_itself(damaged: Network, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "a.cfg,a.weights", "a.cfg,a.weights"]) == 1
    captured = capsys.readouterr()
    assert "the weights contain 2 NaN, 1 Inf" in captured.err
    assert "layer 0" in captured.out
