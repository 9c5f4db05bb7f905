"""``[deconvolutional]``: the sum of the kernels, each scaled by an input cell and shifted by ``stride``."""

from __future__ import annotations

import pytest
import torch

from darknet_py.cfg import Dialect
from darknet_py.layers import Shape
from tests.helpers import random_networks


@pytest.mark.parametrize(("size", "stride", "pad", "padding"), [(3, 2, 0, 0), (2, 2, 0, 0), (4, 2, 1, 0), (3, 1, 0, 2)])
@pytest.mark.parametrize("norm", [0, 1])
def test_sums_of_kernels(size: int, stride: int, pad: int, padding: int, norm: int) -> None:
    keys = {"filters": 2, "size": size, "stride": stride, "pad": pad, "padding": padding, "batch_normalize": norm}
    text = {key: str(value) for key, value in keys.items()} | {"activation": "leaky"}
    layer = random_networks.layer("deconvolutional", text, Shape(3, 3, 4), dialect=Dialect.PJREDDIE)
    x = random_networks.random(2, 3, 3, 4)
    state: dict[str, torch.Tensor] = layer.state_dict()
    cut = size // 2 if pad else padding
    canvas = torch.zeros(2, 2, 2 * stride + size, 3 * stride + size)
    for row in range(3):
        for column in range(4):
            stamp = torch.einsum("bc,cnhw->bnhw", x[:, :, row, column], state["weights"])
            canvas[:, :, row * stride : row * stride + size, column * stride : column * stride + size] += stamp
    y = canvas[:, :, cut : canvas.shape[2] - cut, cut : canvas.shape[3] - cut]

    def column_of(name: str) -> torch.Tensor:
        return state[name].view(-1, 1, 1)

    if norm:
        y = (y - column_of("norm.rolling_mean")) / (column_of("norm.rolling_variance") + 1e-5).sqrt()
        y = y * column_of("norm.scales")
    y = y + column_of("biases")
    torch.testing.assert_close(layer(x), torch.where(y > 0, y, 0.1 * y), rtol=1e-5, atol=1e-5)
