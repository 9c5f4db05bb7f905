"""``ConvolutionSpec``: a layer described as a convolution, so that inference can replace it by a fused one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..activations import Activation
from ._norm import Norm


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvolutionSpec:
    """A layer as ``blur(activation(norm(conv2d(x))))``; pairs are (vertical, horizontal).

    Attributes:
        weights: float [filters, channels / groups, height, width], the layer's own.
        biases: float [filters], the layer's own.
        norm: batch norm before the activation, or None.
        stride: step of the convolution.
        padding: zeros on either side.
        dilation: distance of the kernel's taps.
        groups: channel groups.
        activation: what follows the norm.
        blur: anti-aliasing filter [batch, filters, height, width] -> [batch, filters, ...], or None.
    """

    weights: Tensor
    biases: Tensor
    norm: Norm | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    activation: Activation
    blur: Callable[[Tensor], Tensor] | None

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Weights and biases with batch norm folded in; shapes as those of the attributes."""
        return self.norm.fold(self.weights, self.biases) if self.norm else (self.weights, self.biases)
