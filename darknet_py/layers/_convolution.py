"""``Convolution``: convolution, batch norm, activation; ``[convolutional]`` and a part of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import Activation
from ..cfg import Dialect
from ._binary import binarise, binary_convolution, sign_ste
from ._blur import blur, blur_shape, blur_window
from ._channel_groups import ChannelGroups, Channels
from ._context import Gradients, StepContext
from ._convolution_options import ConvolutionOptions
from ._deformation import read_deformation
from ._excitation import excite
from ._fusion import ConvolutionSpec
from ._gradient_limit import limit_gradient
from ._norm import Norm, shift_input, without_norm
from ._param_group import ParamGroup
from ._parameters import he_uniform_, parameter
from ._window import Window
from ._window_norm import Geometry, WindowNorm
from .base import Layer, Shape, resolve_indices


class Convolution(Layer):
    """Convolution, batch norm and activation.

    ``pad=1`` means size / 2 and overrides ``padding``. Dilation widens the padding but not the size formula.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ConvolutionOptions, Layer.Options):
        """Keys of ``parse_convolutional``."""

    options: Options
    uses_context = True
    overwrites_input_gradient = True  # in C's CPU build, see ``Gradients.DARKNET_CPU``

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.inputs = x.channels
        self.strides = (options.stride_y, options.stride_x)
        self._pjreddie = options.dialect is Dialect.PJREDDIE
        self.owner: tuple[Convolution, ...] = ()  # a tuple keeps nn.Module from registering it twice
        # Cleared by a layer that reads floats.
        self.feeds_bin_output = options.xnor and options.bin_output and not self._pjreddie
        _check_options(options, x)
        steps = (1, 1) if options.antialiasing else self.strides
        height, width = (
            (n + 2 * options.padding - options.size) // step + 1
            for n, step in zip((x.height, x.width), steps, strict=True)
        )
        self.inner = Shape(options.filters, height, width)
        self.shape = blur_shape(self.inner, options.antialiasing, self.strides) if options.antialiasing else self.inner
        if min(self.shape) < 1:
            raise ValueError(
                f"a {options.size}x{options.size} kernel does not fit into a map of {x.width} x {x.height}"
            )
        kernels = options.filters * x.channels // options.groups
        self._deformation = read_deformation(options, options.angle, options.size, kernels)
        self.norm: Norm | None = None
        if options.share_index is None:
            self.biases = parameter(options.filters)
            shape = (options.filters, x.channels // options.groups, options.size, options.size)
            self.weights = parameter(*shape)
            if options.cross_iterations > 1:
                self.norm = WindowNorm(shape, options.groups, options.cross_iterations)
            elif options.batch_normalize:
                self.norm = Norm(options.filters, cross_mini_batch=options.batch_normalize == 2)

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Find the layer whose parameters ``share_index`` shares."""
        if self.options.share_index is None:
            return
        (owner_index,) = resolve_indices((self.options.share_index,), index)
        owner = earlier[owner_index] if 0 <= owner_index < index else None
        if not isinstance(owner, Convolution):
            raise ValueError(f"share_index: expected an earlier [convolutional], got layer {owner_index}")
        shape = (self.options.filters, self.inputs // self.options.groups, self.options.size)
        expected = (owner.options.filters, owner.inputs // owner.options.groups, owner.options.size)
        if shape != expected:
            raise ValueError(
                f"share_index: filters, channels, size: expected {expected} as in layer {owner_index}, got {shape}; "
                "Ultralytics' yolov3 and programs after it ignore share_index: remove it from a cfg of theirs"
            )
        if isinstance(owner.norm, WindowNorm):
            raise ValueError(f"share_index: layer {owner_index} has cross_iterations=, whose statistics are its own")
        self.owner = owner.owner or (owner,)

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [batch, filters, ...] for ``x`` [batch, channels, height, width]."""
        options = self.options
        source = self.owner[0] if self.owner else self
        strides = (1, 1) if options.antialiasing else self.strides
        if options.xnor and not self.training and options.stride_x == options.stride_y:
            margin = 0.0 if self._pjreddie else -1.0
            y = binary_convolution(x, *source.fold_norm(), options.padding, strides, options.groups, margin)
        else:
            padding = options.padding * options.dilation
            biases = None if source.norm else source.biases
            weights: Tensor = source.weights
            if options.xnor and self.training:
                x, weights = sign_ste(x), binarise(source.weights)
            if options.dropconnect:
                weights = F.dropout(weights, options.dropconnect, self.training)
            y = F.conv2d(x, weights, biases, strides, padding, options.dilation, options.groups)
            if isinstance(source.norm, WindowNorm):
                geometry = Geometry(strides, padding, options.dilation, options.groups)
                y = source.norm.after_convolution(y, source.biases, context, x, weights.detach(), geometry)
            elif source.norm:
                y = source.norm(y, source.biases, context)
        if not self.feeds_bin_output:
            before = y
            y = options.activation(y, self.darknet_gradients(context))
            if options.assisted_excitation >= 1 and self.training and context is not None:
                y = excite(before, y, options.activation, int(options.assisted_excitation), context)
        if context is not None and context.try_fix_nan:
            limit_gradient(y, context)
        return blur(y, options.antialiasing, self.strides) if options.antialiasing else y

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Weights [filters, channels / groups, size, size] and biases [filters] with batch norm folded in."""
        return self.norm.fold(self.weights, self.biases) if self.norm else (self.weights, self.biases)

    @property
    def is_binary(self) -> bool:
        """Whether weights and inputs are reduced to their signs (``xnor``)."""
        return self.options.xnor

    def as_convolution(self) -> ConvolutionSpec | None:
        """The layer as a convolution, unless it is binary."""
        if self.is_binary:
            return None
        options = self.options
        owner = self.owner[0] if self.owner else self
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

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of ``tie_channels``; ``filters`` and the groups of a depthwise convolution follow their numbers."""
        y = self.tie_channels(groups, *inputs)
        groups.key("filters", y)
        if self.is_depthwise:
            groups.key("groups", inputs[0])
        return y

    @property
    def is_depthwise(self) -> bool:
        """Whether each input channel has filters of its own."""
        return self.inputs == self.options.groups > 1

    def tie_channels(self, groups: ChannelGroups, x: Channels) -> Channels:
        """Declare the channels of the parameters.

        The groups of a grouped convolution keep equal numbers of channels; a depthwise one loses whole groups. The
        inputs of binary convolutions stay, and of those that share parameters, which cannot have two constants.
        """
        owner = self.owner[0] if self.owner else self
        y = groups.add(owner.weights, owner.biases, owner.norm)
        groups.axis(owner.weights, 0, y)
        if self.is_depthwise:
            tie = groups.tie if owner.norm else groups.follow
            tie(y, x.repeat_interleave(len(y) // len(x)))
        else:
            groups.tie_parts(x, self.options.groups)
            groups.tie_parts(y, self.options.groups)
            groups.axis(owner.weights, 1, x[: len(x) // self.options.groups])
        if self.owner or self.is_binary:
            groups.keep(x)
        if self.options.activation.mixes_channels or self._deformation:
            groups.keep(y)
        return y

    def absorb(self, x: Tensor) -> None:
        """Exact without padding; with padding the median is exact but for the border."""
        options = self.options
        strides = (1, 1) if options.antialiasing else self.strides
        padding = options.padding * options.dilation
        y = F.conv2d(x, self.weights, None, strides, padding, options.dilation, options.groups)
        shift_input(self.norm, self.biases, y[0].flatten(1).median(dim=1).values)

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield biases, batch norm, weights [filters, channels / groups, size, size]; nothing with ``share_index``."""
        if self.options.share_index is not None:
            return
        yield "biases", self.biases
        if self.norm:
            yield from self.norm.stored()
        yield "weights", self.weights.flatten(1).t() if self.options.flipped else self.weights

    def loaded(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield what reading a file fills; ``dontloadscales`` excludes batch norm's arrays."""
        arrays = super().loaded(transposed)
        return without_norm(arrays) if self.options.dontloadscales else arrays

    def initialise(self) -> None:
        """Initialise the weights with ``he_uniform_`` and the biases with 0."""
        if self.options.share_index is not None:
            return
        he_uniform_(self.weights, self.weights[0].numel())
        nn.init.zeros_(self.biases)
        if self.norm:
            self.norm.initialise()

    def param_groups(self, gradients: Gradients = Gradients.DARKNET) -> list[ParamGroup]:
        """Return the groups of ``Layer``, with ``grad_centr``, ``reverse`` and deformations for the weights."""
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
        """Two per multiplication by a weight; 32 binary multiplications count as one."""
        options = self.options
        weights = options.filters * (self.inputs // options.groups) * options.size**2
        return 2.0 * weights * self.inner.height * self.inner.width / (32 if options.xnor else 1)

    @property
    def window(self) -> Window:
        """The dilated kernel, and the blur."""
        options = self.options
        size = (options.size - 1) * options.dilation + 1
        if options.antialiasing:
            return blur_window(options.antialiasing, size, self.strides)
        return Window(size, size, *self.strides)

    def describe(self) -> str:
        """Filters, kernel, stride and what differs from a plain convolution."""
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
        return " ".join((text, *(mark for mark, shown in marks if shown)))


def _check_options(options: Convolution.Options, x: Shape) -> None:
    if x.channels % options.groups or options.filters % options.groups:
        raise ValueError(
            f"{x.channels} channels and {options.filters} filters do not divide into {options.groups} groups"
        )
    if options.dilation > 1 and 2 * options.padding != options.size - 1:
        got = f"size={options.size} padding={options.padding}"
        raise ValueError(f"dilation: expected an odd size and padding of size / 2 (pad=1), got {got}")
    if options.cross_iterations > 1 and (options.batch_normalize != 1 or options.xnor or options.dropconnect):
        raise ValueError("cross_iterations: expected batch_normalize=1 and no xnor, dropconnect, share_index")
    if options.dropconnect and options.xnor:
        raise ValueError("dropconnect: expected no xnor, whose weights are never 0")
