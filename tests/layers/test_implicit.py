"""``[implicit]``: initial values."""

from __future__ import annotations

import pytest
import torch

from darknet_py.layers import Shape
from tests.helpers import random_networks


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.02), (3.0, 0.5), (-1.0, 0.0)])
def test_starting_values_are_uniform_around_the_mean(mean: float, std: float) -> None:
    """``make_implicit_layer``: mean + rand_uniform(-std, std)."""
    torch.manual_seed(0)
    layer = random_networks.layer("implicit", {"filters": "4000", "mean": str(mean), "std": str(std)}, Shape(2, 3, 3))
    layer.initialise()
    values = dict(layer.stored())["weights"].detach()
    assert mean - std - 1e-6 <= float(values.min()) <= mean - 0.99 * std + 1e-6
    assert mean + 0.99 * std - 1e-6 <= float(values.max()) <= mean + std + 1e-6
    assert float(values.mean()) == pytest.approx(mean, abs=0.05 * std + 1e-6)
