"""``[lstm]``: long short-term memory of eight fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...activations import Activation
from ...cfg import Dialect
from ...cfg.schema import option
from .._context import StepContext
from .._dense import Dense
from ..base import Layer, Shape, section
from ._recurrent import Recurrent, State, part_options


@section("lstm")
class Lstm(Recurrent):
    """The ``w`` parts read the state and the ``u`` parts the input; each has its own biases."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_lstm``."""

        output: int = option(1, "length of the state and output", min=1, max=16777216)
        batch_normalize: int = option(0, "batch norm in all eight parts", min=0)

    options: Options
    reads_vectors = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        keys = {"output": options.output, "batch_normalize": options.batch_normalize, "activation": Activation.LINEAR}
        part = part_options(Dense.Options, options, **keys)
        self.shape = Shape(options.output, 1, 1)
        for gate in "figo":
            self.add_module(f"w{gate}", Dense(part, self.shape))
            self.add_module(f"u{gate}", Dense(part, x))

    def start(self, x: Tensor) -> State:
        """Return zeros for output and cell, each [batch, output, 1, 1]."""
        zeros = x.new_zeros(x.shape[0], *self.shape)
        return zeros, zeros

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute one frame (``forward_lstm_layer``)."""
        h, c = state
        f, i, g, o = (self.run_part(f"w{gate}", h, context) + self.run_part(f"u{gate}", x, context) for gate in "figo")
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

    def parts(self) -> tuple[str, ...]:
        """Gates f i g o of the state, then of the input; in pjreddie's files i f o g."""
        gates = "ifog" if self.options.dialect is Dialect.PJREDDIE else "figo"
        return tuple(f"{kind}{gate}" for kind in "wu" for gate in gates)

    def describe(self) -> str:
        """Length of the state."""
        return str(self.options.output)
