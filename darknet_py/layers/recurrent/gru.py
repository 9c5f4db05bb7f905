"""``[gru]``: gated recurrent unit of six fully connected layers."""

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


@section("gru")
class Gru(Recurrent):
    """h = z h + (1 - z) candidate, where the candidate's activation is a sigmoid, not a tanh."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_gru``."""

        output: int = option(1, "length of the state and output", min=1, max=16777216)
        batch_normalize: int = option(0, "batch norm in all six parts", min=0)
        tanh: bool = option(False, "tanh for the candidate (pjreddie)")

    options: Options
    reads_vectors = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        keys = {"output": options.output, "batch_normalize": options.batch_normalize, "activation": Activation.LINEAR}
        part = part_options(Dense.Options, options, **keys)
        self.shape = Shape(options.output, 1, 1)
        for gate in "zrh":
            self.add_module(f"input_{gate}_layer", Dense(part, x))
            self.add_module(f"state_{gate}_layer", Dense(part, self.shape))
        self.candidate = torch.tanh if options.tanh and options.dialect is Dialect.PJREDDIE else torch.sigmoid

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute one frame (``forward_gru_layer``)."""
        (h,) = state

        def part(name: str, x: Tensor) -> Tensor:
            return self.run_part(name, x, context)

        z = torch.sigmoid(part("input_z_layer", x) + part("state_z_layer", h))
        r = torch.sigmoid(part("input_r_layer", x) + part("state_r_layer", h))
        new = self.candidate(part("input_h_layer", x) + part("state_h_layer", r * h))
        h = z * h + (1 - z) * new
        return h, (h,)

    def parts(self) -> tuple[str, ...]:
        """Input gates before state gates; in pjreddie's files the reverse."""
        kinds = ("state", "input") if self.options.dialect is Dialect.PJREDDIE else ("input", "state")
        return tuple(f"{kind}_{gate}_layer" for kind in kinds for gate in "zrh")

    def describe(self) -> str:
        """Length of the state."""
        return str(self.options.output)
