"""Rejection of suspect labels against C's rule (``forward_yolo_layer``), written out number by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from darknet_py.cfg.net_section import Net
from darknet_py.training.label_rejection import LabelRejection

CLASSES = 3
MAX_BATCHES = 400


class CRejection:
    """C's rolling numbers and what it does to the deltas of a mini-batch."""

    def __init__(self, **options: Any) -> None:
        self.net = Net(max_batches=MAX_BATCHES, **options)
        self.rolling_max = self.rolling_avg = self.rolling_std = self.threshold = 0.0

    def reject(self, iteration: int, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        net, start = self.net, MAX_BATCHES * 3 // 4
        late = iteration > start
        small = 0 < net.equidistant_point < iteration
        if not (small or late):
            return delta
        out = delta.copy()
        progress = (iteration - net.equidistant_point) / (MAX_BATCHES - net.equidistant_point)
        lowest = self.rolling_avg * progress * 1.4
        sizes = [abs(value) for value in delta.flat if value != 0]
        self.rolling_max = (self.rolling_max or max(sizes)) * 0.99 + max(sizes) * 0.01
        self.rolling_avg = self.rolling_avg * 0.99 + sum(sizes) / len(sizes) * 0.01
        if net.num_sigmas_reject_badlabels and late:
            final = self.rolling_avg + self.rolling_std * net.num_sigmas_reject_badlabels
            squares = [(value - self.rolling_avg) ** 2 for value in delta.flat if value != 0]
            self.rolling_std = self.rolling_std * 0.99 + math.sqrt(sum(squares) / len(squares)) * 0.01
            highest = max(final, self.rolling_max - (iteration - start) / start * abs(self.rolling_max - final))
            out[abs(out) > highest] = 0
            lowest = min(final, self.rolling_avg) * progress
        if net.badlabels_rejection_percentage and late:
            self.threshold = self.threshold or self.rolling_max
            rejected = abs(out) > self.threshold
            percentage = 100 * rejected.sum() * (CLASSES + 5) / (out != 0).sum()
            if percentage > net.badlabels_rejection_percentage:
                self.threshold += 0.01
            elif self.threshold > 0.01:
                self.threshold -= 0.01
            out[rejected] = 0
        if small:
            out[abs(out) < lowest] = 0
        return out


@pytest.mark.parametrize(
    "options",
    [
        {"num_sigmas_reject_badlabels": 3.0},
        {"badlabels_rejection_percentage": 1.0},
        {"equidistant_point": 50},
        {"num_sigmas_reject_badlabels": 0.5, "badlabels_rejection_percentage": 2.0, "equidistant_point": 250},
    ],
    ids=str,
)
def test_deltas_are_rejected_as_in_c(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    expected, rejection = CRejection(**options), LabelRejection()
    dropped = 0
    for iteration in range(200, MAX_BATCHES):
        delta = rng.standard_t(2, (60, CLASSES + 5)) * (rng.random((60, CLASSES + 5)) < 0.7)
        result = rejection(expected.net, iteration, torch.from_numpy(delta), CLASSES).numpy()
        np.testing.assert_array_equal(result, expected.reject(iteration, delta), err_msg=f"iteration {iteration}")
        dropped += int((result != delta).sum())
    assert dropped > 20


def test_nothing_is_rejected_in_the_first_three_quarters() -> None:
    net = Net(max_batches=MAX_BATCHES, num_sigmas_reject_badlabels=1.0, badlabels_rejection_percentage=50.0)
    rejection, delta = LabelRejection(), torch.tensor([[0.01, -100.0]])
    for iteration in range(MAX_BATCHES * 3 // 4 + 1):
        assert rejection(net, iteration, delta, CLASSES) is delta
