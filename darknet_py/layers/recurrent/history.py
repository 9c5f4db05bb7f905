"""``[history]``: the last frames concatenated along the channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...cfg.schema import option
from .._context import StepContext
from .._window import Window
from ..base import Layer, Shape, section
from ._recurrent import Recurrent, State


@section("history")
class History(Recurrent):
    """The newest frame first (``forward_history_layer``).

    With one frame per call there is no history: the frame is followed by zeros.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_history``."""

        history_size: int = option(4, "number of frames", min=1, max=65536)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.shape = x._replace(channels=x.channels * options.history_size)

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute one frame."""
        (before,) = state
        y = torch.cat((x, before[:, : self.shape.channels - x.shape[1]]), dim=1)
        return y, (torch.zeros_like(y) if context is None or context.time_steps == 1 else y,)

    def parts(self) -> tuple[str, ...]:
        """No parts."""
        return ()

    @property
    def window(self) -> Window:
        """One cell."""
        return Window()

    def describe(self) -> str:
        """Frames."""
        return str(self.options.history_size)
