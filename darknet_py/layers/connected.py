"""``[connected]``: fully connected layer, batch norm, activation."""

from __future__ import annotations

from ._dense import Dense
from .base import section


@section("connected", "conn")
class Connected(Dense):
    """Unlike in ``[convolutional]``, the weights precede the arrays of batch norm in a .weights file."""

    is_part = False
