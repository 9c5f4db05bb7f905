"""Relative differences, probable causes by the pattern of a difference, and matching of boxes."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from darknet_py.compare import diagnosis
from darknet_py.compare.matching import match_boxes
from darknet_py.compare.report import relative_difference
from tests.helpers import random_networks

PLANES = random_networks.random(32, 12, 12)


def bordered() -> Tensor:
    other = PLANES.clone()
    other[:, :, -1] += 1
    return other


def channel() -> Tensor:
    other = PLANES.clone()
    other[7] *= 2
    return other


FACTORS = 1 + random_networks.random(32, seed=2).abs()[:, None, None] * 1e-3


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        (PLANES.flip(0), "same values in a different order"),
        (bordered(), "only cells at the border differ"),
        (channel(), r"only 1 of 32 channels differ \(7\)"),
        (PLANES * FACTORS, "each channel of B is a multiple of A's"),
        (PLANES + FACTORS, "each channel differs by a constant: biases"),
        (torch.where(PLANES < 0, PLANES * 0.1, PLANES), "only negative values differ"),
        (PLANES * math.nan, "outputs contain NaN or Inf"),
        (PLANES.square(), "options and weights are equal"),
    ],
)
def test_the_pattern_of_a_difference_suggests_its_cause(other: Tensor, cause: str) -> None:
    assert any(re.search(cause, text) for text in diagnosis.diagnose_values(PLANES, other))


def test_differences_are_relative_to_the_rms() -> None:
    a = torch.tensor([3.0, -4.0])
    assert relative_difference(a, a + torch.tensor([0.0, 0.5])) == pytest.approx(0.5 / math.sqrt(12.5))
    assert relative_difference(torch.tensor([math.inf, 1.0]), torch.tensor([math.inf, 1.0])) == 0
    assert relative_difference(torch.tensor([math.nan]), torch.tensor([math.nan])) == math.inf
    assert relative_difference(torch.tensor([1.0]), torch.tensor([math.nan])) == math.inf
    assert relative_difference(torch.tensor([math.nan]), torch.tensor([1.0])) == math.inf
    assert relative_difference(torch.zeros(2), torch.zeros(3)) == math.inf


def test_boxes_are_matched_by_class_and_iou() -> None:
    a = torch.tensor([[0, 0.9, 0.5, 0.5, 0.2, 0.2], [1, 0.8, 0.5, 0.5, 0.2, 0.2], [0, 0.253, 0.1, 0.1, 0.1, 0.1]])
    b = torch.tensor([[1, 0.8, 0.5, 0.5, 0.2, 0.2], [0, 0.895, 0.501, 0.5, 0.2, 0.2]])
    matches = match_boxes(a, b, (100, 50), 0.25)
    assert (matches.a, matches.b, matches.matched, matches.near_threshold) == (3, 2, 2, 1)
    assert matches.max_pixels == pytest.approx(0.1, rel=1e-4)
    assert matches.max_confidence == pytest.approx(0.005, rel=1e-4)
    assert matches.is_same
    b[0, 0] = 2
    assert not match_boxes(a, b, (100, 50), 0.25).is_same
    assert match_boxes(a[:0], b[:0], (100, 50), 0.25).is_same
