"""``[reorg]`` and ``[reorg3d]``: the position of every value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py.cfg import Dialect
from darknet_py.layers import Shape
from tests.helpers import random_networks

PJ = Dialect.PJREDDIE


def reorg(name: str, x: Tensor, dialect: Dialect = Dialect.ALEXEYAB, **keys: int) -> Tensor:
    layer = random_networks.layer(
        name, {key: str(value) for key, value in keys.items()}, Shape(*x.shape[1:]), dialect=dialect
    )
    return torch.cat([layer(row[None]) for row in x]) if len(x) > 1 else layer(x)


def numbered(*size: int) -> Tensor:
    return torch.arange(torch.Size(size).numel()).view(size).float()


def reorg_cpu(x: list[float], channels: int, height: int, width: int, stride: int, forward: bool) -> list[float]:
    """Compute ``reorg_cpu`` of one image with C's loops."""
    narrow = channels // stride**2
    y = [0.0] * len(x)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                offset, k2 = k // narrow, k % narrow
                w2, h2 = i * stride + offset % stride, j * stride + offset // stride
                larger = w2 + width * stride * (h2 + height * stride * k2)
                index = i + width * (j + height * k)
                if forward:
                    y[larger] = x[index]
                else:
                    y[index] = x[larger]
    return y


@pytest.mark.parametrize(("shape", "stride"), [((4, 6, 8), 2), ((8, 4, 2), 2), ((9, 3, 6), 3), ((5, 2, 3), 1)])
def test_reorg_reads_the_memory_as_a_larger_map(shape: tuple[int, int, int], stride: int) -> None:
    channels, height, width = shape
    x = numbered(1, *shape)
    # C calls it with the input's shape: it takes from a map stride times larger with stride ** 2 fewer channels.
    expected = reorg_cpu(x.flatten().tolist(), channels, height, width, stride, forward=False)
    y = reorg("reorg", x, stride=stride)
    assert y.shape == (1, channels * stride**2, height // stride, width // stride)
    assert y.flatten().tolist() == expected
    back = reorg("reorg", x, stride=stride, reverse=1)
    assert back.flatten().tolist() == reorg_cpu(x.flatten().tolist(), channels, height, width, stride, forward=True)


@pytest.mark.parametrize(("shape", "stride"), [((4, 6, 8), 2), ((1, 3, 6), 3)])
def test_reorg3d_is_space_to_depth(shape: tuple[int, int, int], stride: int) -> None:
    x = numbered(2, *shape)
    y = reorg("reorg3d", x, stride=stride)
    for k in range(y.shape[1]):
        block, channel = divmod(k, shape[0])
        assert torch.equal(y[:, k], x[:, channel, block // stride :: stride, block % stride :: stride])


def test_reorg3d_reversed_is_not_the_inverse() -> None:
    x = numbered(1, 16, 2, 3)
    y = reorg("reorg3d", x, stride=2, reverse=1)
    assert y.shape == (1, 4, 4, 6)
    expected = x.flatten().reshape(2, 2, 1, 4, 6).permute(2, 3, 0, 4, 1)
    assert torch.equal(y.flatten(), expected.flatten())
    assert not torch.equal(reorg("reorg3d", y, stride=2), x)


def test_pjreddies_flatten_transposes_channels_and_cells() -> None:
    x = numbered(2, 4, 2, 2)
    y = reorg("reorg", x, PJ, stride=1, flatten=1)
    assert torch.equal(y.reshape(2, 4, 4), x.reshape(2, 4, 4).transpose(1, 2))
    assert torch.equal(reorg("reorg", y, PJ, stride=1, flatten=1, reverse=1), x)


def test_pjreddies_extra_appends_zeros() -> None:
    x = numbered(2, 2, 1, 3) + 1
    y = reorg("reorg", x, PJ, extra=4)
    assert y.shape == (2, 10, 1, 1)
    assert torch.equal(y[:, :6].flatten(1), x.flatten(1))
    assert not y[:, 6:].any()


def test_alexeyab_ignores_flatten_and_extra() -> None:
    x = numbered(1, 4, 2, 2)
    assert torch.equal(reorg("reorg", x, stride=2, flatten=1, extra=3), reorg("reorg", x, stride=2))
