"""Fused convolutions: batch norm folded in, bias and activation applied in place, a following sum included.

On CPUs this uses the oneDNN operator that torch.compile emits: weights are packed once, bias and activation are applied
before the result leaves the registers, and nothing is compiled. Where torch has no such operator, and on other devices,
a convolution is followed by the activation in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..layers import ConvolutionSpec, Shape
from .inplace import identity, in_place, negated_mish_, traceable

_PostOp = tuple[str, list[float], str]  # name, scalars and algorithm of an activation in oneDNN

_ONEDNN: dict[Activation, _PostOp] = {
    Activation.LINEAR: ("none", [], ""),
    Activation.LEAKY: ("leaky_relu", [0.1], ""),
    Activation.REVLEAKY: ("leaky_relu", [0.1], ""),
    Activation.RELIE: ("leaky_relu", [0.01], ""),
    Activation.RELU: ("relu", [], ""),
    Activation.RELU6: ("hardtanh", [0.0, 6.0], ""),
    Activation.HARDTAN: ("hardtanh", [-1.0, 1.0], ""),
    Activation.SWISH: ("swish", [], ""),
    Activation.LOGISTIC: ("sigmoid", [], ""),
    Activation.TANH: ("tanh", [], ""),
}


@dataclass(frozen=True)
class Target:
    """The dtype and device that fused modules are built for.

    Attributes:
        dtype: dtype they compute in.
        device: device they run on.
        packed: whether to use oneDNN's operators with packed weights.
        traced: whether the modules are traced, for oneDNN's graph compiler.
    """

    dtype: torch.dtype
    device: torch.device
    packed: bool
    traced: bool = False


def has_onednn() -> bool:
    """Whether this build of torch can run a convolution with an activation in oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight"))


def has_fast_bf16() -> bool:
    """Whether oneDNN computes in bfloat16 on this CPU (AVX-512, AVX-NE-CONVERT or AMX); packing fails on others."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


def require_dtype(name: str, device: torch.device) -> None:
    """Raise ValueError for a precision in which a device does not compute."""
    if name == "fp16" and device.type == "cpu":
        other = "fp32 or bf16" if has_fast_bf16() else "fp32"
        raise ValueError(f"dtype: fp16 needs a GPU, expected {other} on this CPU")


class FusedConvolution(nn.Module):
    """A convolution with batch norm folded in and, where ``sum_activation`` is given, the sum that follows.

    Args:
        spec: the convolution.
        x: shape of its input.
        target: dtype and device to build for.
        sum_activation: activation that follows the sum with the second argument of ``forward``; None: no sum.
    """

    weights: Tensor
    biases: Tensor

    def __init__(self, spec: ConvolutionSpec, x: Shape, target: Target, sum_activation: Activation | None) -> None:
        super().__init__()
        choose = traceable if target.traced else in_place
        self.activate = choose(spec.activation)
        self.activate_sum = None if sum_activation is None else choose(sum_activation)
        self.blur = spec.blur
        self.geometry = (spec.padding, spec.stride, spec.dilation, spec.groups)
        weights, biases = self._fold(spec)
        weights = self._prepare_weights(weights.detach().to(target.dtype), x)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("biases", biases.detach().to(target.dtype), persistent=False)

    def _fold(self, spec: ConvolutionSpec) -> tuple[Tensor, Tensor]:
        return spec.fold_norm()

    def _prepare_weights(self, weights: Tensor, x: Shape) -> Tensor:
        return weights.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """Compute the layer, or the layer and the sum with ``added``.

        Args:
            x: [batch, channels, height, width] in channels_last order.
            added: the other term of the sum, of the output's shape.

        Returns:
            [batch, filters, height, width].
        """
        y = self.activate(self.convolve(x))
        y = self.blur(y) if self.blur else y
        return y if self.activate_sum is None else self.activate_sum(y.add_(added[0]))

    def convolve(self, x: Tensor) -> Tensor:
        """Compute the convolution alone, in newly allocated memory; shapes as in ``forward``."""
        padding, strides, dilation, groups = self.geometry
        return F.conv2d(x, self.weights, self.biases, strides, padding, dilation, groups)


class FusedPointwise(FusedConvolution):
    """A 1x1 convolution of a map with one cell, as in squeeze-and-excitation: a matrix product."""

    def convolve(self, x: Tensor) -> Tensor:
        """Compute the convolution alone, in newly allocated memory; shapes as in ``forward``."""
        if x.shape[2:] != (1, 1):
            return super().convolve(x)
        return F.linear(x.flatten(1), self.weights.flatten(1), self.biases)[:, :, None, None]


class PackedConvolution(FusedConvolution):
    """A convolution by oneDNN's fused operator, with packed weights."""

    def __init__(self, spec: ConvolutionSpec, x: Shape, target: Target, sum_activation: Activation | None) -> None:
        super().__init__(spec, x, target, sum_activation)
        activation = spec.activation
        self.post_op = _ONEDNN.get(activation, _ONEDNN[Activation.LINEAR])
        if activation in _ONEDNN:
            self.activate = identity
        elif activation is Activation.MISH:
            self.activate = negated_mish_
        # oneDNN adds before the activation, so the sum can only follow a linear convolution.
        self.adds = sum_activation is not None and activation is Activation.LINEAR and not self.blur
        if self.adds and sum_activation is Activation.RELU:
            self.activate_sum = identity
        self.sum_post_op = "relu" if sum_activation is Activation.RELU else None

    def _fold(self, spec: ConvolutionSpec) -> tuple[Tensor, Tensor]:
        weights, biases = super()._fold(spec)
        return (-weights, -biases) if spec.activation is Activation.MISH else (weights, biases)

    def _prepare_weights(self, weights: Tensor, x: Shape) -> Tensor:
        weights = super()._prepare_weights(weights, x)
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weights, *self.geometry, [1, *x])
        return packed

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """As ``FusedConvolution.forward``; the sum is part of the operator where oneDNN allows it."""
        if not self.adds or self.activate_sum is None:
            return super().forward(x, *added)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, added[0], self.weights, self.biases, *self.geometry, "add", 1.0, self.sum_post_op, [], None
        )
        return self.activate_sum(y)

    def convolve(self, x: Tensor) -> Tensor:
        """Compute the convolution, with its activation where oneDNN supports it; for mish, the negated convolution."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weights, self.biases, *self.geometry, *self.post_op)
        return y
