"""``Convolution``: convolution, batch norm, activation; ``[convolutional]`` and a part of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg.schema import option
from ._blur import blur, blurred
from ._context import Gradients, StepContext
from ._deformation import deformation
from ._excitation import excited
from ._fusion import ConvolutionSpec
from ._norm import Norm, without_norm
from ._param_group import ParamGroup
from ._parameters import he_uniform_, parameter
from .base import Layer, Shape


class Convolution(Layer):
    """Convolution, batch norm and activation.

    ``pad=1`` means size / 2 and overrides ``padding``. Dilation widens the padding but not the size formula.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_convolutional``."""

        filters: int = option(1, "output channels")
        size: int = option(1, "side of the square kernel")
        stride: int = option(1, "step, for the axes that give none of their own")
        stride_x: int = option(0, "step to the right; below 1: stride")
        stride_y: int = option(0, "step down; below 1: stride")
        dilation: int = option(1, "distance of the kernel's taps; 1x1 kernels have none")
        pad: bool = option(False, "pad by size / 2, whatever padding says")
        padding: int = option(0, "zeros on every side, times the dilation")
        groups: int = option(1, "channel groups that do not mix")
        activation: Activation = option(Activation.LOGISTIC, "what follows the norm")
        batch_normalize: int = option(0, "0: biases only, 1: batch norm, 2: cross-iteration batch norm")
        cbn: bool = option(False, "the same as batch_normalize=2")
        antialiasing: int = option(0, "take the stride by a blur behind: 1 binomial 3x3, 2 mean of 2x2")
        share_index: int | None = option(None, "number of the layer whose parameters are used")
        flipped: bool = option(False, "the file holds the weights as [inputs, filters]")
        binary: bool = option(False, "binary weights in C's GPU code", effect="unsupported")
        xnor: bool = option(False, "binary weights and inputs")
        bin_output: bool = option(False, "with xnor: linear activation where the next layer binarises anyway")
        assisted_excitation: float = option(0, "objects stand out: 1 in the first half, N up to update N", train=True)
        sway: bool = option(False, "a quarter of the kernels is free, others are turned or mirrored copies", train=True)
        rotate: bool = option(False, "a quarter of the kernels is free, others are turned by 90, 180, 270", train=True)
        stretch: bool = option(False, "a quarter of the kernels is free, others are stretched copies", train=True)
        stretch_sway: bool = option(False, "a quarter of the kernels is free, others are deformed copies", train=True)
        angle: float = option(15.0, "whole degrees for sway and stretch_sway", train=True)
        grad_centr: bool = option(False, "centre each filter's gradient", train=True)
        reverse: float = option(0.0, "update by the sign times (10 |v| + 1) ** reverse; 0: by v", train=True)

        def __post_init__(self) -> None:
            """Resolve what one key says about another."""
            object.__setattr__(self, "stride_x", self.stride_x if self.stride_x > 0 else self.stride)
            object.__setattr__(self, "stride_y", self.stride_y if self.stride_y > 0 else self.stride)
            object.__setattr__(self, "padding", self.size // 2 if self.pad else self.padding)
            if self.size == 1:
                object.__setattr__(self, "dilation", 1)
            if self.xnor:
                object.__setattr__(self, "groups", 1)
            if self.cbn:
                object.__setattr__(self, "batch_normalize", 2)

    options: Options
    uses_context = True
    overwrites_input_gradient = True  # in C's CPU build, see ``Gradients.DARKNET_CPU``

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.inputs = x.channels
        self.strides = (options.stride_y, options.stride_x)
        self.owner: tuple[Convolution, ...] = ()  # a tuple keeps nn.Module from registering it twice
        self.feeds_bin_output = options.xnor and options.bin_output  # cleared by a layer that reads floats
        _check(options, x)
        steps = (1, 1) if options.antialiasing else self.strides
        height, width = (
            (n + 2 * options.padding - options.size) // step + 1
            for n, step in zip((x.height, x.width), steps, strict=True)
        )
        self.inner = Shape(options.filters, height, width)
        self.shape = blurred(self.inner, options.antialiasing, self.strides) if options.antialiasing else self.inner
        if min(self.shape) < 1:
            raise ValueError(f"a {options.size}x{options.size} kernel does not fit into {x.width} x {x.height}")
        kernels = options.filters * x.channels // options.groups
        self._deformation = deformation(options, options.angle, options.size, kernels)
        self.norm: Norm | None = None
        if options.share_index is None:
            self.biases = parameter(options.filters)
            self.norm = Norm(options.filters, across=options.batch_normalize == 2) if options.batch_normalize else None
            self.weights = parameter(options.filters, x.channels // options.groups, options.size, options.size)

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Find the layer whose parameters ``share_index`` borrows."""
        number = self.options.share_index
        if number is None:
            return
        number += index if number < 0 else 0
        owner = earlier[number] if 0 <= number < index else None
        if not isinstance(owner, Convolution):
            raise ValueError(f"share_index: layer {number} is no earlier [convolutional]")
        mine = (self.options.filters, self.inputs // self.options.groups, self.options.size)
        theirs = (owner.options.filters, owner.inputs // owner.options.groups, owner.options.size)
        if mine != theirs:
            raise ValueError(f"share_index: filters, channels and size are {mine} here and {theirs} in layer {number}")
        self.owner = owner.owner or (owner,)

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """[batch, channels, height, width] to [batch, filters, ...]."""
        options, source = self.options, self.owner[0] if self.owner else self
        strides = (1, 1) if options.antialiasing else self.strides
        if options.xnor and not self.training and options.stride_x == options.stride_y:
            y = _binary(x, *source.folded(), options.padding, strides)
        else:
            padding = options.padding * options.dilation
            biases = None if source.norm else source.biases
            weights: Tensor = source.weights
            if options.xnor and self.training:
                x, weights = _signs(x), _means(source.weights)
            y = F.conv2d(x, weights, biases, strides, padding, options.dilation, options.groups)
            if source.norm:
                y = source.norm(y, source.biases, context)
        if not self.feeds_bin_output:
            y, before = options.activation(y, self.darknet_gradients(context)), y
            if options.assisted_excitation >= 1 and self.training and context is not None:
                y = excited(before, y, options.activation, int(options.assisted_excitation), context)
        return blur(y, options.antialiasing, self.strides) if options.antialiasing else y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weights [filters, channels / groups, size, size] and biases [filters] with batch norm folded in."""
        return self.norm.folded(self.weights, self.biases) if self.norm else (self.weights, self.biases)

    @property
    def is_binary(self) -> bool:
        """Whether weights and inputs are reduced to their signs (``xnor``)."""
        return self.options.xnor

    def as_convolution(self) -> ConvolutionSpec | None:
        """The layer as one convolution, unless it is binary."""
        if self.is_binary:
            return None
        options, owner = self.options, self.owner[0] if self.owner else self
        padding = options.padding * options.dilation
        return ConvolutionSpec(
            weights=owner.weights,
            biases=owner.biases,
            norm=owner.norm,
            stride=(1, 1) if options.antialiasing else self.strides,
            padding=(padding, padding),
            dilation=(options.dilation, options.dilation),
            groups=options.groups,
            activation=options.activation,
            blur=partial(blur, kind=options.antialiasing, stride=self.strides) if options.antialiasing else None,
        )

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Biases, then the norm, then weights [filters, channels / groups, size, size]."""
        if self.options.share_index is not None:
            return
        yield "biases", self.biases
        if self.norm:
            yield from self.norm.stored()
        yield "weights", self.weights.flatten(1).t() if self.options.flipped else self.weights

    def loaded(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Without batch norm's arrays where ``dontloadscales`` is set."""
        arrays = super().loaded(transposed)
        return without_norm(arrays) if self.options.dontloadscales else arrays

    def initialise(self) -> None:
        """Uniform weights of He's scale, biases 0."""
        if self.options.share_index is not None:
            return
        he_uniform_(self.weights, self.weights[0].numel())
        nn.init.zeros_(self.biases)
        if self.norm:
            self.norm.initialise()

    def param_groups(self, gradients: Gradients = Gradients.DARKNET) -> list[ParamGroup]:
        """As in every layer; weights also have ``grad_centr`` (only with batch norm), ``reverse`` and deformations."""
        weights, others = super().param_groups(gradients)
        weights = replace(weights, centralise=self.options.grad_centr and self.norm is not None)
        if gradients is not Gradients.DARKNET_CPU:
            weights = replace(weights, power=self.options.reverse, deformation=self._deformation)
        return [weights, others]

    @torch.no_grad()
    def reinitialise_similar_filters(self, similarity_threshold: float) -> None:
        """Re-initialise one filter of the most similar pair if their cosine similarity exceeds the threshold.

        Layers without an activation are skipped (``reject_similar_weights``).
        """
        if self.options.activation is Activation.LINEAR or self.options.share_index is not None:
            return
        unit = F.normalize(self.weights.flatten(1), dim=1)
        similarity = (unit @ unit.t()).triu(diagonal=1)
        best = int(similarity.argmax())
        if float(similarity.flatten()[best]) <= similarity_threshold:
            return
        row = best // len(unit)
        he_uniform_(self.weights[row], self.weights[row].numel())
        self.biases[row] = 0
        if self.norm:
            self.norm.scales[row] = 1

    @property
    def flops(self) -> float:
        """Two for each multiplication with a weight; binary ones are counted 32 at a time."""
        options = self.options
        weights = options.filters * (self.inputs // options.groups) * options.size**2
        return 2.0 * weights * self.inner.height * self.inner.width / (32 if options.xnor else 1)

    def describe(self) -> str:
        """Filters, kernel, stride."""
        options = self.options
        text = f"{options.filters} {options.size}x{options.size}/{options.stride_x}"
        if options.stride_x != options.stride_y:
            text += f"x{options.stride_y}"
        marks = (
            (f"dilation {options.dilation}", options.dilation > 1),
            (f"groups {options.groups}", options.groups > 1),
            ("xnor", options.xnor),
            (f"blur {options.antialiasing}", options.antialiasing),
            (f"shares {options.share_index}", options.share_index is not None),
            (str(options.activation), True),
        )
        return " ".join((text, *(word for word, shown in marks if shown)))


def _check(options: Convolution.Options, x: Shape) -> None:
    for key in ("filters", "size", "stride_x", "stride_y", "dilation", "groups"):
        if getattr(options, key) < 1:
            raise ValueError(f"{key}: expected 1 or more, got {getattr(options, key)}")
    if x.channels % options.groups or options.filters % options.groups:
        raise ValueError(
            f"{x.channels} channels and {options.filters} filters do not divide into {options.groups} groups"
        )
    if options.dilation > 1 and 2 * options.padding != options.size - 1:
        found = f"size={options.size} padding={options.padding}"
        raise ValueError(f"dilation needs an odd size and padding of size / 2 (pad=1), got {found}")


def _binary(x: Tensor, weights: Tensor, biases: Tensor, padding: int, strides: tuple[int, int]) -> Tensor:
    """XNOR-Net's product (``calculate_binary_weights``): signs of x, mean magnitude of each filter.

    https://arxiv.org/abs/1603.05279. What is padded counts as -1.
    """
    mean = weights.abs().mean(dim=(1, 2, 3), keepdim=True)
    signs = F.pad((x > 0).to(x.dtype) * 2 - 1, (padding,) * 4, value=-1.0)
    return F.conv2d(signs, torch.where(weights > 0, mean, -mean), biases, strides)


def _signs(x: Tensor) -> Tensor:
    """The sign of ``x`` with the gradient of its hard tanh, as C trains xnor layers."""
    limited = F.hardtanh(x)
    return limited + (torch.where(x > 0, 1.0, -1.0) - limited).detach()


def _means(weights: Tensor) -> Tensor:
    """The sign of each weight times its filter's mean magnitude, with the gradient of the weight itself."""
    mean = weights.abs().mean(dim=(1, 2, 3), keepdim=True)
    return weights + (torch.where(weights > 0, mean, -mean) - weights).detach()
