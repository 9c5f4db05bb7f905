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
    weights.save(net, "a.weights")
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
        darknet_py.save(net, path)
        with pytest.warns(WeightsWarning, match=f"^{path}: the weights contain {PROBLEM}"):
            darknet_py.load(path)


def test_check_reports_them_as_an_error(damaged: Network, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "a.cfg", "a.weights"]) == 1
    assert "wrong  a.weights: the weights contain 2 NaN, 1 Inf: layer 0 [conv] 2 NaN" in capsys.readouterr().out


def test_convert_refuses_them_unless_told(damaged: Network, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "a.weights", "b.pt", "--cfg", "a.cfg"]
    assert cli.main(command) == 1
    assert "expected numbers (allow_non_finite=True, --allow-non-finite: convert them)" in capsys.readouterr().err
    assert not pathlib.Path("b.pt").exists()
    assert cli.main([*command, "--allow-non-finite"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeightsWarning)
        darknet_py.convert("b.pt", "c.weights", allow_non_finite=True)
    assert pathlib.Path("c.weights").read_bytes() == pathlib.Path("a.weights").read_bytes()


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
