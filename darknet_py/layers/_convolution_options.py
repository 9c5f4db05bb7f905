"""Options of convolutions: the keys of ``[convolutional]``."""

from __future__ import annotations

from dataclasses import dataclass

from ..activations import Activation
from ..cfg import Dialect, schema
from ..cfg.schema import option


@dataclass(frozen=True, kw_only=True)
class ConvolutionOptions(schema.Options):
    """Filters, kernel, batch norm, and how the filters are trained."""

    filters: int = option(1, "output channels", min=1, max=1048576)
    size: int = option(1, "side of the square kernel", min=1, max=1024)
    stride: int = option(1, "step in both directions", min=1, max=65536)
    stride_x: int = option(0, "horizontal step; below 1: stride", min=-1, max=65536)
    stride_y: int = option(0, "vertical step; below 1: stride", min=-1, max=65536)
    dilation: int = option(1, "dilation of the kernel; ignored for 1x1 kernels", min=1, max=65536)
    pad: bool = option(False, "padding of size / 2; padding is ignored")
    padding: int = option(0, "zero padding on every side, multiplied by the dilation", min=0, max=65536)
    groups: int = option(1, "channel groups (grouped convolution)", min=1, max=1048576)
    activation: Activation = option(Activation.LOGISTIC, "activation after batch norm")
    batch_normalize: int = option(0, "0: biases only, 1: batch norm, 2: cross mini-batch norm (CmBN)", min=0, max=2)
    cbn: bool = option(False, "the same as batch_normalize=2, CmBN")
    antialiasing: int = option(
        0, "apply the stride by a blur after the activation: 1 binomial 3x3, 2 mean of 2x2", min=0
    )
    share_index: int | None = option(None, "number of the layer whose parameters are shared", layers=True)
    flipped: bool = option(False, "the file holds the weights as [inputs, filters]")
    binary: bool = option(False, "binary weights in C's GPU code", effect="unsupported")
    xnor: bool = option(False, "binary weights and inputs")
    bin_output: bool = option(
        False, "with xnor: no activation if only the next layer, which binarises, reads the output"
    )
    assisted_excitation: float = option(
        0, "assisted excitation: 1 in the first half of training, N until iteration N", train=True, min=0
    )
    sway: bool = option(False, "tie three quarters of the kernels to rotated or flipped copies of the rest", train=True)
    rotate: bool = option(
        False, "tie three quarters of the kernels to copies of the rest, rotated by 90, 180, 270", train=True
    )
    stretch: bool = option(False, "tie three quarters of the kernels to scaled copies of the rest", train=True)
    stretch_sway: bool = option(
        False, "tie three quarters of the kernels to scaled, rotated or flipped copies of the rest", train=True
    )
    angle: float = option(15.0, "rotation of sway and stretch_sway in whole degrees", train=True, min=-360, max=360)
    cross_iterations: int = option(
        1,
        "batch norm with the statistics of this many mini-batches, the latest (CBN); 1: of its own",
        train=True,
        min=1,
        max=64,
        extension=True,
    )
    dropconnect: float = option(
        0.0,
        "probability that a weight is zero in a mini-batch (DropConnect)",
        train=True,
        min=0,
        max=0.99,
        extension=True,
    )
    grad_centr: bool = option(
        False, "gradient centralisation: subtract each filter's mean from its gradient", train=True
    )
    reverse: float = option(
        0.0, "exponent p of the update sign(v) * (10 * abs(v) + 1)**p; 0: plain SGD", train=True, min=-100, max=100
    )

    def __post_init__(self) -> None:
        """Resolve keys that depend on others."""
        object.__setattr__(self, "stride_x", self.stride_x if self.stride_x > 0 else self.stride)
        object.__setattr__(self, "stride_y", self.stride_y if self.stride_y > 0 else self.stride)
        object.__setattr__(self, "padding", self.size // 2 if self.pad else self.padding)
        if self.size == 1:
            object.__setattr__(self, "dilation", 1)
        if self.xnor and self.dialect is Dialect.ALEXEYAB:
            object.__setattr__(self, "groups", 1)
        if self.cbn:
            object.__setattr__(self, "batch_normalize", 2)
