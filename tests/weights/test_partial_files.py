"""Backbones, layers that are not read or written, and failed saves."""

from __future__ import annotations

import os
import pathlib
import re
import stat
from typing import Any

import numpy as np
import pytest
import torch

import darknet_py
from darknet_py import weights
from darknet_py.errors import WeightsError
from tests.helpers import random_networks
from tests.helpers.random_networks import FLOATS, HEADER, TEXT, nan_network, weights_file

WHOLE = HEADER + np.arange(FLOATS, dtype="<f4").tobytes()


@pytest.mark.parametrize(("upto", "floats"), [(1, 26), (2, 26), (3, 35), (4, FLOATS)])
def test_upto_reads_and_writes_the_first_layers(upto: int, floats: int, tmp_path: pathlib.Path) -> None:
    whole = weights_file(tmp_path / "a.weights", FLOATS)
    net = weights.load(nan_network(TEXT), whole)
    assert weights.save(net, tmp_path / "a.conv", upto=upto) == 20 + 4 * floats
    assert (tmp_path / "a.conv").read_bytes() == whole.read_bytes()[: 20 + 4 * floats]
    for source in (whole, tmp_path / "a.conv"):
        part = weights.load(nan_network(TEXT), source, upto=upto)
        filled = [not array.tensor.isnan().any() for array in weights.stored(part)]
        assert filled == [array.layer < upto for array in weights.stored(part)]
    weights.save(part, tmp_path / "b.conv", upto=upto)
    assert (tmp_path / "b.conv").read_bytes() == (tmp_path / "a.conv").read_bytes()


def test_a_backbone_fills_the_first_layers(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "made.cfg"
    path.write_text(TEXT)
    net = darknet_py.load(path, weights_file(tmp_path / "a.conv.2", 26), upto=2)
    assert net.state_dict()["layers.0.weights"].flatten().tolist() == list(range(8, 26))
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
    assert net.seen == 6400


@pytest.mark.parametrize("upto", [0, -1, 5])
@pytest.mark.parametrize("action", [weights.load, weights.save])
def test_upto_out_of_range_is_refused(upto: int, action: Any, tmp_path: pathlib.Path) -> None:
    path = weights_file(tmp_path / "a.weights", FLOATS)
    with pytest.raises(WeightsError, match=re.escape(f"upto={upto}: expected 1..4, the number of layers")):
        action(random_networks.network(TEXT), path, upto=upto)
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("keys", "floats", "unread"),
    [
        ("dontload=1", 26 + 32, {"layers.2.biases", "layers.2.weights"}),
        ("dontloadscales=1", FLOATS, set()),
        ("numload=2", 26 + 2 + 4 + 32, {"layers.2.biases", "layers.2.weights"}),
    ],
)
def test_dontload_and_numload_read_fewer_arrays(
    keys: str, floats: int, unread: set[str], tmp_path: pathlib.Path
) -> None:
    net = nan_network(TEXT.replace("filters=3\n", f"filters=3\n{keys}\n"))
    weights.load(net, weights_file(tmp_path / "a.weights", floats))
    state = net.state_dict()
    assert {name for name, tensor in state.items() if tensor.isnan().any()} == unread
    assert state["layers.3.norm.rolling_variance"][-1] == floats - 1
    if "numload" in keys:
        assert state["layers.2.biases"][:2].tolist() == [26, 27]
        assert state["layers.2.weights"][:2].flatten().tolist() == [28, 29, 30, 31]
    assert weights.save(net, tmp_path / "b.weights") == 20 + 4 * FLOATS, "all arrays are written"


def test_dontloadscales_reads_no_batch_norm_arrays(tmp_path: pathlib.Path) -> None:
    net = nan_network(TEXT.replace("pad=1\n", "pad=1\ndontloadscales=1\n") + "dontloadscales=1\n")
    weights.load(net, weights_file(tmp_path / "a.weights", FLOATS - 12))
    unread = {name.rpartition(".")[2] for name, tensor in net.state_dict().items() if tensor.isnan().any()}
    assert unread == {"scales", "rolling_mean", "rolling_variance"}
    assert net.state_dict()["layers.0.weights"].flatten()[0] == 2


def test_dontsave_writes_no_arrays_of_the_layer(tmp_path: pathlib.Path) -> None:
    net = nan_network(TEXT.replace("filters=3\n", "filters=3\ndontsave=1\n"))
    weights.load(net, weights_file(tmp_path / "a.weights", FLOATS))
    weights.save(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == WHOLE[: 20 + 4 * 26] + WHOLE[20 + 4 * 35 :]


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: pathlib.Path) -> None:
    net = random_networks.network(TEXT)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for count in (FLOATS - 1, FLOATS + 1):
        with pytest.raises(WeightsError):
            weights.load(net, weights_file(tmp_path / "a.weights", count))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.seen == 0


def test_a_failed_save_keeps_the_old_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, net = tmp_path / "a.weights", random_networks.network(TEXT)
    path.write_bytes(b"old")
    connected = net[3]
    arrays = connected.stored

    def broken(transposed: bool = False) -> Any:
        yield from arrays(transposed)
        raise OSError("no space left")

    monkeypatch.setattr(connected, "stored", broken)
    with pytest.raises(WeightsError, match=re.escape(f"{path}: no space left")):
        weights.save(net, path, allow_non_finite=True)  # the search for NaN would read the arrays before
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.weights"]


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path: pathlib.Path) -> None:
    old = os.umask(0o027)
    try:
        weights.save(random_networks.network(TEXT), tmp_path / "a.weights")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.weights").stat().st_mode) == 0o640


def test_saving_to_a_missing_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=re.escape(f"{tmp_path}/none/a.weights: No such file or directory")):
        weights.save(random_networks.network(TEXT), tmp_path / "none" / "a.weights")


def test_a_network_can_be_saved_to_the_file_it_was_loaded_from(tmp_path: pathlib.Path) -> None:
    path = weights_file(tmp_path / "a.weights", FLOATS)
    net = weights.load(nan_network(TEXT), path)
    weights.save(net, path)
    assert path.read_bytes() == WHOLE


def test_dontloadscales_acts_on_convolutions_and_connected_layers_only() -> None:
    text = "[net]\nwidth=2\nheight=2\nchannels=3\n[batchnorm]\ndontloadscales=1\n"
    net = nan_network(text + "[connected]\noutput=2\nbatch_normalize=1\ndontloadscales=1\n")
    assert [array.label for array in weights.stored(net)] == [
        *(f"layer 0 [batchnorm] {name}" for name in ("biases", "scales", "rolling_mean", "rolling_variance")),
        *(f"layer 1 [connected] {name}" for name in ("biases", "weights")),
    ]
