"""``[rnn]``: a plain recurrent layer of three fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass

from ...activations import Activation
from ...cfg import Dialect
from ...cfg.schema import option
from .._dense import Dense
from ..base import Shape, section
from ._recurrent import ThreePart, part_options


@section("rnn")
class Rnn(ThreePart):
    """state = input(x) + self(state), both activated before the sum; output(state) leaves the layer."""

    @dataclass(frozen=True, kw_only=True)
    class Options(ThreePart.Options):
        """Keys of ``parse_rnn``; pjreddie's has no ``hidden`` (it is ``output``) and no ``logistic``."""

        output: int = option(1, "length of the output", min=1, max=16777216)
        hidden: int = option(1, "length of the state", min=1, max=16777216)
        logistic: int = option(
            0, "activation of the state's part: 1 logistic, 2 loggy, 0 that of the others", min=0, max=2
        )

    options: Options
    reads_vectors = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        pjreddie = options.dialect is Dialect.PJREDDIE
        hidden = options.output if pjreddie else options.hidden
        state = {1: Activation.LOGISTIC, 2: Activation.LOGGY}.get(
            0 if pjreddie else options.logistic, options.activation
        )

        def connected(inputs: int, outputs: int, activation: Activation) -> Dense:
            keys = {"output": outputs, "activation": activation, "batch_normalize": options.batch_normalize}
            return Dense(part_options(Dense.Options, options, **keys), Shape(inputs, 1, 1))

        self.input_layer = connected(x.floats, hidden, options.activation)
        self.self_layer = connected(hidden, hidden, state)
        self.output_layer = connected(hidden, options.output, options.activation)
        self.shape = self.output_layer.shape

    def describe(self) -> str:
        """Length of state and output."""
        return f"{self.self_layer.shape.channels} -> {self.options.output} {self.options.activation}"
