"""``[shortcut]``: the sum of the input and earlier outputs, plain or weighted."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg import Dialect
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import Gradients, StepContext
from ._join import Join
from ._param_group import ParamGroup
from ._parameters import parameter
from .base import Shape, resolve_indices, section


class WeightsType(enum.StrEnum):
    """Values of ``weights_type=``."""

    NONE = "none"
    PER_FEATURE = "per_feature"
    PER_LAYER = "per_layer"
    PER_CHANNEL = "per_channel"


class WeightsNormalization(enum.StrEnum):
    """Values of ``weights_normalization=``."""

    NONE = "none"
    RELU = "relu"
    AVG_RELU = "avg_relu"
    SOFTMAX = "softmax"


@section("shortcut")
class Shortcut(Join):
    """The output has the input's shape; of a source with another number of channels, the common ones are added.

    Sources of another size are added as in pjreddie's code: every second (third, ...) cell of the larger map
    corresponds to a cell of the smaller one (``shortcut_cpu``). AlexeyAB's code does not support them.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Join.Options):
        """Keys of ``parse_shortcut``; alpha and beta are pjreddie's."""

        from_: tuple[int, ...] = option(
            MISSING, "numbers of the layers to add; negative: relative to this one", key="from", layers=True
        )
        activation: Activation = option(Activation.LINEAR, "activation after the sum")
        weights_type: WeightsType = option(
            WeightsType.NONE, "one learnable weight per source, or per source and channel"
        )
        weights_normalization: WeightsNormalization = option(
            WeightsNormalization.NONE, "how the weights are normalised to a sum of 1"
        )
        alpha: float = option(1.0, "factor of the input where a source is added (pjreddie)")
        beta: float = option(1.0, "factor of the source (pjreddie)")

        def sources(self, index: int) -> tuple[int, ...]:
            """The layer before and the layers of ``from``."""
            return (index - 1, *resolve_indices(self.from_, index))

    options: Options
    uses_context = True

    def __init__(self, options: Options, *inputs: Shape) -> None:
        super().__init__(options, *inputs)
        weighted = options.weights_type is not WeightsType.NONE
        if weighted and options.weights_normalization is WeightsNormalization.NONE:
            raise ValueError("weights_type: expected weights_normalization=relu, avg_relu or softmax, got none")
        if weighted and any(x[1:] != self.shape[1:] for x in inputs):
            raise ValueError("weights_type: expected layers of equal width and height")
        for x in inputs[1:]:
            _strides(self.shape, x)
        self.per_channel = options.weights_type is WeightsType.PER_CHANNEL
        per_source = (self.shape.channels,) if self.per_channel else ()
        self.weights = parameter(len(inputs), *per_source) if weighted else None

    def forward(self, *inputs: Tensor, context: StepContext | None = None) -> Tensor:
        """Return the activated sum of ``inputs`` [batch, channels, height, width]; the shape of the first."""
        if self.weights is not None:
            shares = self._normalise_weights(self.weights, context)
            y = sum(
                (
                    self._match_channels(x) * share.view(-1, 1, 1)
                    for x, share in zip(inputs[1:], shares[1:], strict=True)
                ),
                inputs[0] * shares[0].view(-1, 1, 1),
            )
        else:
            y = inputs[0]
            for x in inputs[1:]:
                y = self._add(y, x)
        return self.options.activation(y, self.darknet_gradients(context))

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the input, tied with the channels that are added to them."""
        y = inputs[0]
        for x in inputs[1:]:
            common = min(len(x), len(y))
            groups.tie(x[:common], y[:common])
        if self.weights is not None and self.per_channel:
            groups.axis(self.weights, 1, y)
        if self.options.activation.mixes_channels:
            groups.keep(y)
        return y

    @property
    def dtype_agnostic(self) -> bool:
        """Without weights."""
        return self.weights is None

    def as_sum(self, *inputs: Shape) -> Activation | None:
        """The activation, where two maps of one shape are added without weights."""
        if self.weights is not None or len(inputs) != 2 or inputs[0] != inputs[1]:
            return None
        options = self.options
        plain = options.dialect is not Dialect.PJREDDIE or options.alpha == options.beta == 1
        return options.activation if plain else None

    def _add(self, y: Tensor, x: Tensor) -> Tensor:
        pjreddie = self.options.dialect is Dialect.PJREDDIE
        alpha, beta = (self.options.alpha, self.options.beta) if pjreddie else (1.0, 1.0)
        if x.shape == y.shape and alpha == beta == 1:
            return y + x
        stride, sample = _strides(Shape(*y.shape[1:]), Shape(*x.shape[1:]))
        channels = min(x.shape[1], y.shape[1])
        height, width = (min(a, b) for a, b in zip(y.shape[2:], x.shape[2:], strict=True))
        if sample == alpha == beta == 1:
            overlap = x[:, :channels, ::stride, ::stride][:, :, :height, :width]
            return y + F.pad(overlap, (0, y.shape[3] - width, 0, y.shape[2] - height, 0, y.shape[1] - channels))
        # The copy keeps the in-place operations below differentiable and the input unchanged.
        y = y.clone()
        region = y[:, :channels, ::sample, ::sample][:, :, :height, :width]
        region.mul_(alpha).add_(x[:, :channels, ::stride, ::stride][:, :, :height, :width], alpha=beta)
        return y

    def _match_channels(self, x: Tensor) -> Tensor:
        """Cut or zero-pad the channels of ``x`` to those of the output."""
        missing = self.shape.channels - x.shape[1]
        return x if missing == 0 else F.pad(x, (0, 0, 0, 0, 0, missing))

    def _normalise_weights(self, weights: Tensor, context: StepContext | None) -> Tensor:
        """Normalise ``weights`` [sources] or [sources, channels] over the sources.

        With relu, weights are clamped to 0.001 or more, as in C's GPU code and in its fused network
        (``fuse_conv_batchnorm``); C's unfused CPU code clamps to 0.
        """
        softmax = self.options.weights_normalization is WeightsNormalization.SOFTMAX
        if self.darknet_gradients(context):
            omit_factor = context is not None and context.gradients is Gradients.DARKNET_CPU
            shares: Tensor = _NormaliseWeights.apply(weights, softmax, omit_factor)  # type: ignore[no-untyped-call]
            return shares
        return _normalise(weights, softmax)

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights [sources] or [sources, channels], the input's first."""
        if self.weights is not None:
            yield "weights", self.weights

    def initialise(self) -> None:
        """Set the weights to 1."""
        if self.weights is not None:
            nn.init.ones_(self.weights)

    def param_groups(self, gradients: Gradients = Gradients.DARKNET) -> list[ParamGroup]:
        """Return the groups of ``Layer``; C's CUDA code does not decay the weights and limits their velocity to 1."""
        groups = super().param_groups(gradients)
        if gradients is Gradients.DARKNET_CPU:
            return groups
        return [replace(group, weight_decay=False, velocity_limit=1.0) for group in groups]

    @property
    def flops(self) -> float:
        """One for each source and output value; two if they are weighted."""
        return float(self.shape.floats * len(self.options.from_) * (1 if self.weights is None else 2))

    def describe(self) -> str:
        """Sources, kind of weights and activation."""
        text = " ".join(map(str, self.options.from_))
        weights_type = "" if self.weights is None else f" {self.options.weights_type}"
        return f"{text}{weights_type} {self.options.activation}"


def _strides(y: Shape, x: Shape) -> tuple[int, int]:
    """Strides of the source ``x`` and of the output ``y`` between cells that are added."""
    stride, sample = max(1, x.width // y.width), max(1, y.width // x.width)
    if (stride, sample) != (max(1, x.height // y.height), max(1, y.height // x.height)):
        raise ValueError(f"cannot add {x.width} x {x.height} to {y.width} x {y.height}")
    return stride, sample


def _normalise(weights: Tensor, softmax: bool) -> Tensor:
    raised = (weights - weights.amax(dim=0)).exp() if softmax else weights.clamp(min=0.001)
    return raised / (1e-4 + raised.sum(dim=0))


class _NormaliseWeights(torch.autograd.Function):
    """Normalised weights s with C's gradient: that of s times s, or times s (1 - s) with softmax.

    ``omit_factor``: the gradient is not multiplied by that factor, as in C's CPU build.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, softmax: bool, omit_factor: bool) -> Tensor:
        shares = _normalise(weights, softmax)
        ctx.softmax = softmax
        ctx.omit_factor = omit_factor
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (shares,) = ctx.saved_tensors
        factor = shares * (1 - shares) if ctx.softmax else shares
        return gradients[0] if ctx.omit_factor else gradients[0] * factor, None, None
