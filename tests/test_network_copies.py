"""Copies of networks and of what holds them, slices of a network, and networks whose layers were replaced."""

from __future__ import annotations

import copy
import pathlib
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import darknet_py
from darknet_py.errors import DarknetError
from darknet_py.tiling import TiledDetector
from tests.helpers.network_states import boxes, image, network


@pytest.mark.parametrize("engine", ["torch", "plain"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_used_detectors_can_be_copied(engine: str, copied: Callable[[Any], Any]) -> None:
    detector = darknet_py.Detector(network("save"), threshold=0.1, engine=engine)
    (expected,) = boxes(detector(image()))
    other = copied(detector)
    with torch.no_grad():
        detector.network[0].get_parameter("weights").zero_()
    assert torch.equal(boxes(other(image()))[0], expected)
    assert not torch.equal(boxes(detector(image()))[0].sum(), expected.sum())
    tiled = copied(TiledDetector(other))
    assert len(tiled(image()).boxes) == len(TiledDetector(other)(image()).boxes)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_optimised_networks_and_classifiers_can_be_copied(copied: Callable[[Any], Any]) -> None:
    fast = darknet_py.optimise(network("save"))
    x = torch.rand(1, 3, 32, 32)
    expected = fast(x)[0]
    assert torch.equal(copied(fast)(x)[0], expected)
    classifier = darknet_py.Classifier(network("Classifier"))
    probs = classifier(image()).probs
    assert torch.equal(copied(classifier)(image()).probs, probs)


def test_slices_of_a_network_are_lists_of_layers() -> None:
    net = network("save")
    assert net[1:3] == [net[1], net[2]]
    assert net[::-2] == [net[5], net[3], net[1]]
    assert net[-1] is net[5]


def test_a_replaced_layer_is_refused_with_a_sentence(tmp_path: pathlib.Path) -> None:
    net = network("save")
    net.layers[2] = nn.Conv2d(8, 8, 1)
    net(torch.rand(1, 3, 32, 32))  # PyTorch's own way to use it
    functions: tuple[Callable[[], Any], ...] = (
        lambda: str(net),
        lambda: net[2],
        lambda: net[1:3],
        lambda: darknet_py.Detector(net),
        lambda: darknet_py.optimise(net),
        lambda: darknet_py.export(net, tmp_path / "a.onnx"),
        lambda: darknet_py.save(net, tmp_path / "a.pt"),
        lambda: darknet_py.save(net, tmp_path / "a.weights"),
        lambda: darknet_py.evaluate(net, "x.data"),
        lambda: darknet_py.Trainer(net),
    )
    for function in functions:
        with pytest.raises(
            DarknetError, match=re.escape("a.cfg:17: layer 2 [conv] was replaced by a Conv2d: expected")
        ):
            function()
    assert list(tmp_path.iterdir()) == []
    del net.layers[2]
    with pytest.raises(DarknetError, match="expected 6 layers as in the cfg, found 5"):
        str(net)


def test_a_layer_of_another_shape_is_not_saved(tmp_path: pathlib.Path) -> None:
    net = network("save")
    net.layers[2] = network("save").layers[0]
    with pytest.raises(DarknetError, match=r"layers.2.weights: expected \(8, 8, 1, 1\) as in the cfg, found"):
        darknet_py.save(net, tmp_path / "a.pt")
