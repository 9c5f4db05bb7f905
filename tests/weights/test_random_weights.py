"""Weights that were neither loaded nor trained: a warning where results are computed, an error in commands."""

from __future__ import annotations

import copy
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import darknet_py
from darknet_py import cli, weights
from darknet_py.compat.opencv import DetectionModel
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.errors import WeightsWarning
from darknet_py.network import Network
from darknet_py.tiling import TiledDetector
from tests.helpers import data_files
from tests.helpers.weights_files import HEAD

IMAGE = np.zeros((32, 32, 3), np.uint8)
CLASSIFIER = "[net]\nwidth=4\nheight=4\nchannels=3\n[conv]\nfilters=2\nsize=3\n[avgpool]\n[softmax]\n"


@pytest.fixture(autouse=True)
def _cfgs(_working_directory: None) -> None:
    pathlib.Path("a.cfg").write_text(HEAD)
    pathlib.Path("b.cfg").write_text(CLASSIFIER)


def evaluate(net: Network) -> None:
    path = data_files.write_image(pathlib.Path("a.png"))
    boxes = np.array([[0.5, 0.5, 0.4, 0.4, 1]], np.float32)
    darknet_py.evaluate(net, Dataset([Sample(path, boxes, boxes[:0])]), progress=False, workers=0)


def export(net: Network) -> None:
    with pytest.raises(darknet_py.DarknetError, match="expected a name that ends in"):
        darknet_py.export(net, "a.other")


USES: dict[str, Callable[[Network], Any]] = {
    "Detector": lambda net: darknet_py.Detector(net, threshold=0.9)(IMAGE),
    "TiledDetector": lambda net: TiledDetector(darknet_py.Detector(net, threshold=0.9))(IMAGE),
    "DetectionModel": DetectionModel,
    "evaluate": evaluate,
    "export": export,
}


@pytest.mark.parametrize("use", USES)
def test_random_weights_in_use_are_a_warning(use: str) -> None:
    net = darknet_py.load("a.cfg")
    with pytest.warns(WeightsWarning, match=r"^a.cfg: random weights in layers 0, 1, 3: expected loaded or trained"):
        USES[use](net)
    with torch.no_grad():
        for layer in (net[0], net[1], net[3]):
            layer.get_parameter("weights").data.mul_(1.5)  # as after training by any means
    USES[use](net)  # warnings are errors in this test suite


def test_a_classifier_with_random_weights_is_a_warning() -> None:
    with pytest.warns(WeightsWarning, match="random weights in layers 0:"):
        darknet_py.Classifier(darknet_py.load("b.cfg"))(IMAGE)


def test_loaded_weights_are_not_random() -> None:
    net = darknet_py.load("a.cfg")
    weights.save(darknet_py.load("a.cfg"), "a.weights")
    assert weights.random_layers(net) == [0, 1, 3]
    assert weights.random_layers(copy.deepcopy(net).half()) == [0, 1, 3]
    weights.load(net, "a.weights", upto=2)
    assert weights.random_layers(net) == [3]
    assert weights.random_layers(weights.load(net, "a.weights")) == []
    assert weights.random_layers(darknet_py.load("a.cfg", "a.weights", upto=2)) == [3]
    assert weights.random_layers(darknet_py.load("a.cfg", "a.weights")) == []


def test_a_network_without_weights_is_not_random() -> None:
    text = "[net]\nwidth=2\nheight=2\nchannels=7\n[maxpool]\n[yolo]\nnum=1\nmask=0\nclasses=2\nanchors=1,1\n"
    pathlib.Path("c.cfg").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        darknet_py.Detector(darknet_py.load("c.cfg")).batch(torch.zeros(1, 7, 2, 2))


@pytest.mark.parametrize(
    "command",
    ["evaluate a.cfg a.data", "export a.cfg", "compare a.cfg a.cfg", "detect a.cfg a.png"],
)
def test_commands_need_weights(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    data_files.write_image(pathlib.Path("a.png"))
    assert cli.main(command.split()) in (1, 2)
    assert "weights" in capsys.readouterr().err.lower()
