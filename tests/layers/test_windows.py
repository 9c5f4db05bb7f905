"""Pooling and local response normalisation against loops over windows, as in C."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from darknet_py.layers import Shape
from tests.helpers import random_networks

GEOMETRY = [(2, 2, -1), (2, 1, -1), (3, 2, -1), (3, 1, 0), (5, 1, -1), (4, 2, -1), (4, 3, 1), (3, 3, 4)]


def windows(x: Tensor, size: int, stride: int, padding: int) -> Iterator[list[Tensor]]:
    """Yield rows of windows, each the cells [channels, n] inside the map."""
    padding = size - 1 if padding < 0 else padding
    height, width = ((n + padding - size) // stride + 1 for n in x.shape[1:])
    for row in range(height):
        top = row * stride - padding // 2
        lefts = [column * stride - padding // 2 for column in range(width)]
        inside = x[:, max(top, 0) : max(top + size, 0)]
        yield [inside[:, :, max(left, 0) : max(left + size, 0)].flatten(1) for left in lefts]


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRY)
@pytest.mark.parametrize(("name", "reduce"), [("maxpool", torch.amax), ("local_avgpool", torch.mean)])
def test_pooling_equals_the_definition(
    name: str, reduce: Callable[..., Tensor], size: int, stride: int, padding: int
) -> None:
    x = random_networks.random(1, 2, 7, 10)
    keys = {"size": str(size), "stride": str(stride), "padding": str(padding)}
    rows_of_windows = windows(x[0], size, stride, padding)
    rows = [torch.stack([reduce(cells, dim=1) for cells in row], dim=1) for row in rows_of_windows]
    expected = torch.stack(rows, dim=1)[None]
    torch.testing.assert_close(random_networks.layer(name, keys, Shape(2, 7, 10))(x), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_local_response_normalisation_leaves_out_one_channel(size: int, channels: int) -> None:
    x = random_networks.random(2, channels, 2, 2, low=-3, high=3)
    layer = random_networks.layer(
        "lrn", {"size": str(size), "alpha": "0.1", "beta": "0.6", "kappa": "1.5"}, Shape(channels, 2, 2)
    )
    y = layer(x)
    before, after = (size - 1) // 2, size // 2
    for k in range(channels):
        sums = x[:, max(0, k - before) : k + after + 1].square().sum(dim=1)
        if after < channels:
            sums = sums - x[:, after].square()
        torch.testing.assert_close(y[:, k], x[:, k] * (1.5 + 0.1 * sums) ** -0.6)


def test_depth_pooling_takes_channels_modulo_out_channels() -> None:
    x = random_networks.random(1, 7, 2, 2)
    y = random_networks.layer("maxpool", {"maxpool_depth": "1", "out_channels": "3"}, Shape(7, 2, 2))(x)
    for k in range(3):
        assert torch.equal(y[0, k], x[0, k::3].amax(dim=0))


def test_padding_is_never_the_maximum() -> None:
    x = torch.full((1, 1, 3, 3), -math.inf)
    assert (random_networks.layer("maxpool", {"size": "3", "stride": "2"}, Shape(1, 3, 3))(x) == -math.inf).all()
