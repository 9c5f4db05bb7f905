"""``[convolutional]``: convolution, batch norm, activation."""

from __future__ import annotations

from ._convolution import Convolution
from .base import section


@section("convolutional", "conv")
class Convolutional(Convolution):
    """See ``Convolution``, of which recurrent layers consist too."""
