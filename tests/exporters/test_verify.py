"""How the outputs of a runtime are compared with PyTorch's, on inputs of several sizes too."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py.exporters.traceable import TraceableNetwork
from darknet_py.exporters.verify import _box_pixels, verify_outputs
from darknet_py.postprocess import Heads
from tests.helpers import random_networks

BINARY = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\nsize=3\npad=1\nxnor=1\n"


def test_boxes_larger_than_the_input_differ_relative_to_themselves() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.25, 1000.0]]])
    other = boxes + torch.tensor([0.0, 0.001, 0.0, 0.1])
    assert _box_pixels(boxes, other, torch.ones(1, 1, 1), (100, 200), 0.25) == pytest.approx(0.2, rel=1e-3)
    other[..., 3] += 10.0
    assert _box_pixels(boxes, other, torch.ones(1, 1, 1), (100, 200), 0.25) == pytest.approx(2.02, rel=1e-3)


@pytest.mark.parametrize("flips", [1, 100])
def test_a_binary_network_is_verified_on_an_input_that_flips_no_sign(flips: int) -> None:
    net = random_networks.network(BINARY)
    module, calls = TraceableNetwork(net, Heads.RAW), []

    def run(arrays: list[Any]) -> list[Any]:
        calls.append(arrays[0])
        off = 1 if len(calls) <= flips else 0
        return [y.numpy() + off for y in module(torch.from_numpy(arrays[0]))]

    difference = verify_outputs(net, run)
    assert len(calls) == (2 if flips == 1 else 8)
    assert (difference.max_abs == 0) == (flips == 1)


@pytest.mark.parametrize("pooling", ["size=1\nstride=2", "size=2\nstride=3", "size=2\nstride=2", "size=3\nstride=1"])
def test_pooling_has_a_dynamic_size(pooling: str, tmp_path: pathlib.Path) -> None:
    """Whatever cells the windows skip, or reach beyond the map."""
    net = random_networks.network(f"[net]\nwidth=12\nheight=12\nchannels=3\n[maxpool]\n{pooling}\n")
    assert darknet_py.export(net, tmp_path / "a.pt2", dynamic="size").max_abs_difference == 0
