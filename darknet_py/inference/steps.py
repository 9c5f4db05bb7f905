"""``fuse``: choose the module that an optimised network runs instead of a layer, by what the layer declares.

A module has the layer's inputs and returns the same values up to rounding. Maps are in channels_last order
throughout, which oneDNN and tensor cores require.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..activations import Activation
from ..layers import Layer, Shape
from .convolutions import FusedConvolution, FusedPointwise, PackedConvolution, Target


class Float32Region(nn.Module):
    """A layer that computes in float32 while its neighbours do not.

    Args:
        layer: the layer.
        dtype: dtype of the output.
    """

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self.dtype = dtype

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the layer on inputs [batch, channels, height, width] of any floating dtype."""
        y: Tensor = self.layer(*(x.float() for x in inputs))
        return y.to(self.dtype)


def fuse(
    layer: Layer, x: Shape, target: Target, *, sum_activation: Activation | None = None, is_output: bool = False
) -> nn.Module:
    """Return the module to run for a layer; the layer itself if no faster one exists.

    Args:
        layer: the layer, in eval mode.
        x: shape of its first input.
        target: dtype and device to build for.
        sum_activation: for a convolution fused with a following sum, the activation after the sum.
        is_output: whether the network returns the output, which then is float32.
    """
    spec = layer.as_convolution()
    if spec is not None:
        is_matrix = x[1:] == (1, 1) and spec.weights.shape[2:] == (1, 1) and spec.groups == 1 and spec.padding == (0, 0)
        kind = FusedPointwise if is_matrix else PackedConvolution if target.packed else FusedConvolution
        return kind(spec, x, target, sum_activation)
    fused = layer.fused()
    if fused is not None:
        return fused
    if target.dtype is not torch.float32 and not layer.dtype_agnostic:
        return Float32Region(layer, torch.float32 if is_output else target.dtype)
    return layer
