"""``[connected]``: fully connected layer, batch norm, activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._dense import Dense
from .base import section


@section("connected", "conn")
class Connected(Dense):
    """Unlike in ``[convolutional]``, the weights precede the arrays of batch norm in a .weights file."""

    is_part = False

    @dataclass(frozen=True, kw_only=True)
    class Options(Dense.Options):
        """Keys of ``parse_connected``."""

        dropconnect: float = option(
            0.0,
            "probability that a weight is zero in a mini-batch (DropConnect)",
            train=True,
            min=0,
            max=0.99,
            extension=True,
        )

    options: Options

    @property
    def used_weights(self) -> Tensor:
        """The weights [output, inputs], in training without those that ``dropconnect`` drops."""
        return F.dropout(self.weights, self.options.dropconnect, self.training)
