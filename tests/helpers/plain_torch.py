"""Networks in plain torch.nn with the arrays of a .weights file, to compare those of a cfg with.

Nothing of the package is used: the file is read as floats behind a header of 20 bytes, in Darknet's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
HEADER_BYTES = 20


def leaky(x: Tensor) -> Tensor:
    """Darknet's leaky ReLU."""
    return F.leaky_relu(x, 0.1)


def linear(x: Tensor) -> Tensor:
    """No activation."""
    return x


class PlainNetwork(nn.Module):
    """A network whose layers are made when a function that describes it calls them for the first time.

    Args:
        path: the .weights file. Its arrays are taken in the order of the calls.
        describe: the network: a function of this object and the images.
    """

    def __init__(self, path: str | os.PathLike[str], describe: Callable[[PlainNetwork, Tensor], Any]) -> None:
        super().__init__()
        self.floats = torch.from_numpy(np.fromfile(path, "<f4", offset=HEADER_BYTES))
        self.describe = describe
        self.layers = nn.ModuleList()
        self.weights: list[Tensor] = []  # those with weight decay
        self.called = 0

    def forward(self, x: Tensor) -> Any:
        """What ``describe`` returns."""
        self.called = 0
        result = self.describe(self, x)
        assert not self.floats.numel(), f"{self.floats.numel()} floats of the file were not used"
        return result

    def conv(
        self,
        x: Tensor,
        filters: int,
        size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        norm: bool = True,
        act: Function = leaky,
    ) -> Tensor:
        """A convolution, batch norm or biases, and an activation."""

        def make() -> nn.Module:
            inside = nn.Conv2d(
                x.shape[1], filters, size, stride, size // 2 * dilation, dilation, groups=groups, bias=not norm
            )
            parts: list[nn.Module] = [inside]
            if norm:
                parts.append(self._read_norm(filters))
            else:
                assert inside.bias is not None
                self._fill(inside.bias)
            self._fill(inside.weight)
            self.weights.append(inside.weight)
            return nn.Sequential(*parts).to(x.dtype)

        return act(self._layer(make)(x))

    def norm(self, x: Tensor, act: Function = linear) -> Tensor:
        """Batch norm on its own, and an activation."""
        return act(self._layer(lambda: self._read_norm(x.shape[1]).to(x.dtype))(x))

    def vector(self, length: int) -> Tensor:
        """A parameter [length]."""

        def make() -> nn.Module:
            value = nn.Parameter(torch.empty(length))
            self._fill(value)
            return nn.ParameterList([value])

        layer = self._layer(make)
        assert isinstance(layer, nn.ParameterList)
        vector: Tensor = layer[0]
        return vector

    def _layer(self, make: Callable[[], nn.Module]) -> nn.Module:
        if self.called == len(self.layers):
            self.layers.append(make().train(self.training))
        self.called += 1
        return self.layers[self.called - 1]

    def _read_norm(self, channels: int) -> nn.BatchNorm2d:
        norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.01)
        for tensor in (norm.bias, norm.weight, norm.running_mean, norm.running_var):
            assert tensor is not None
            self._fill(tensor)
        return norm

    def _fill(self, tensor: Tensor) -> None:
        count = tensor.numel()
        with torch.no_grad():
            tensor.copy_(self.floats[:count].view(tensor.shape))
        self.floats = self.floats[count:]
