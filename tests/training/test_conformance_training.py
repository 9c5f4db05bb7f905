"""``Trainer`` against C Darknet: the same weights, images and targets give the same costs and weights.

The values are in golden/conformance: ``training`` and ``training_more`` follow the rules of C's CUDA sources, which the
official weights come from, ``training_cpu`` those of its CPU build.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from tests.helpers import conformance_training

WEIGHTS_TOLERANCE = 1e-3  # of the distance from the first weights to C's last
COST_TOLERANCE = 5e-5
LR_TOLERANCE = 1e-6
# [batchnorm] cancels the biases before it: their gradients are rounding errors.
WIDER = {"training/batchnorm": 0.005, "training_cpu/batchnorm": 0.005}


def cases() -> list[Any]:
    found = []
    for folder in conformance_training.FOLDERS:
        for name in conformance_training.names(folder):
            found.append(pytest.param(folder, name, id=f"{folder}/{name}"))
    return found


def test_there_are_as_many_networks_as_c_trained() -> None:
    counts = {folder: len(conformance_training.names(folder)) for folder in conformance_training.FOLDERS}
    assert counts == {"training": 28, "training_more": 24, "training_cpu": 28}


@pytest.mark.filterwarnings("ignore::darknet_py.errors.UnusedOptionWarning")
@pytest.mark.parametrize(("folder", "name"), cases())
def test_costs_and_weights_are_those_of_c(folder: str, name: str, tmp_path: pathlib.Path) -> None:
    difference = conformance_training.train(folder, name, tmp_path)
    assert difference.lr <= LR_TOLERANCE, difference
    assert difference.cost <= COST_TOLERANCE, difference
    assert difference.weights <= WIDER.get(f"{folder}/{name}", WEIGHTS_TOLERANCE), difference
