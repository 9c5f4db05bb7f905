"""``[depthwise]``: a convolution with one group per input channel (SpursLipu's YOLOv3v4-ModelCompression)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ..activations import Activation
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import StepContext
from ._convolution import Convolution
from ._fusion import ConvolutionSpec
from ._window import Window
from .base import Layer, Shape, section


@section("depthwise")
class Depthwise(Layer):
    """``[convolutional]`` whose ``groups`` are the input's channels; no Darknet has the section."""

    is_darknets = False

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of SpursLipu's PyTorch code."""

        filters: int = option(1, "output channels, a multiple of the input's", min=1, max=1048576)
        size: int = option(1, "side of the square kernel", min=1, max=1024)
        stride: int = option(1, "step in both directions", min=1, max=65536)
        pad: bool = option(False, "padding of size / 2")
        activation: Activation = option(Activation.LINEAR, "activation after batch norm")
        batch_normalize: int = option(0, "0: biases only, 1: batch norm", min=0, max=1)

    options: Options
    uses_context = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        keys = ("dialect", "filters", "size", "stride", "pad", "activation", "batch_normalize")
        part = {key: getattr(options, key) for key in keys}
        self.convolution = Convolution(Convolution.Options(groups=x.channels, **part), x)
        self.shape = self.convolution.shape

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [batch, filters, ...] for ``x`` [batch, channels, height, width]."""
        y: Tensor = self.convolution(x, context=context)
        return y

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Those of the convolution; ``filters`` follows their number."""
        y = self.convolution.tie_channels(groups, *inputs)
        groups.key("filters", y)
        return y

    def absorb(self, x: Tensor) -> None:
        """As the convolution does."""
        self.convolution.absorb(x)

    def as_convolution(self) -> ConvolutionSpec | None:
        """The convolution."""
        return self.convolution.as_convolution()

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the arrays of a convolution."""
        yield from self.convolution.stored(transposed)

    @property
    def flops(self) -> float:
        """Those of the convolution."""
        return self.convolution.flops

    @property
    def window(self) -> Window:
        """That of the convolution."""
        return self.convolution.window

    def describe(self) -> str:
        """Filters, kernel, stride."""
        return self.convolution.describe()
