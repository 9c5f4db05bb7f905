"""``[crnn]``: ``[rnn]`` with convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from ...cfg import Dialect
from ...cfg.schema import option
from .._convolution import Convolution
from ..base import Shape, section
from ._recurrent import ThreePart, part_options


@section("crnn")
class Crnn(ThreePart):
    """The state needs convolutions that keep the size, such as 3x3 with ``pad=1``; pjreddie's always pad."""

    @dataclass(frozen=True, kw_only=True)
    class Options(ThreePart.Options):
        """Keys of ``parse_crnn``; pjreddie's has the two ``_filters`` and a fixed 3x3 kernel."""

        size: int = option(3, "side of the kernels", min=1, max=1024)
        stride: int = option(1, "step", min=1, max=65536)
        dilation: int = option(1, "dilation of the kernels", min=1, max=65536)
        pad: bool = option(False, "padding of size / 2; padding is ignored")
        padding: int = option(0, "zero padding on every side", min=0, max=65536)
        output: int = option(1, "output channels", min=1, max=1048576)
        hidden: int = option(1, "channels of the state", min=1, max=1048576)
        output_filters: int = option(0, "output (pjreddie)", min=0, max=1048576)
        hidden_filters: int = option(0, "hidden (pjreddie)", min=0, max=1048576)
        groups: int = option(1, "channel groups", min=1, max=1048576)
        xnor: bool = option(False, "binary weights and inputs")

        def __post_init__(self) -> None:
            """Resolve keys that depend on others."""
            object.__setattr__(self, "output", self.output_filters or self.output)
            object.__setattr__(self, "hidden", self.hidden_filters or self.hidden)
            if self.dialect is Dialect.PJREDDIE:
                for key, value in (("size", 3), ("stride", 1), ("dilation", 1), ("pad", True), ("groups", 1)):
                    object.__setattr__(self, key, value)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        keys = ("size", "stride", "dilation", "pad", "padding", "groups", "activation", "batch_normalize", "xnor")
        shared = {key: getattr(options, key) for key in keys}

        def convolution(filters: int, x: Shape) -> Convolution:
            part = part_options(Convolution.Options, options, filters=filters, **shared)
            return Convolution(part, x)

        self.input_layer = convolution(options.hidden, x)
        self.self_layer = convolution(options.hidden, self.input_layer.shape)
        self.output_layer = convolution(options.output, self.input_layer.shape)
        if self.self_layer.shape != self.input_layer.shape:
            raise ValueError(f"expected convolutions that keep the size: size={options.size} with pad=1 and stride=1")
        self.shape = self.output_layer.shape

    def describe(self) -> str:
        """Channels of state and output, kernel."""
        options = self.options
        return f"{options.hidden} -> {options.output} {options.size}x{options.size} {options.activation}"
