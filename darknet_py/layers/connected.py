"""``[connected]``: fully connected layer, batch norm, activation."""

from __future__ import annotations

from ._dense import Dense
from .base import section


@section("connected", "conn")
class Connected(Dense):
    """See ``Dense``, of which recurrent layers consist too."""
