"""``[convolutional]``: convolution, batch norm, activation."""

from __future__ import annotations

from ._convolution import Convolution
from .base import section


@section("convolutional", "conv")
class Convolutional(Convolution):
    """``pad=1`` means size / 2 and overrides ``padding``. Dilation widens the padding but not the size formula."""
