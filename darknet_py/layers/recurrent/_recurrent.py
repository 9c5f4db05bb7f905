"""``Recurrent``: time-major batches and a state that is kept from call to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...activations import Activation
from ...cfg.schema import option
from .._context import StepContext
from .._window import WHOLE_MAP, Window
from ..base import Layer

State = tuple[Tensor, ...]
T = TypeVar("T", bound=Layer.Options)


class Recurrent(Layer):
    """Base of the recurrent layers.

    Input and output are time-major: rows [t * batch, (t + 1) * batch) are frame t of ``StepContext.time_steps``.

    As in Darknet the state starts at zero and is kept between calls; ``reset()`` and a call with another batch size or
    device clear it. In training it starts at zero with every ``sequence`` of mini-batches (C's crnn and rnn always
    start at zero) and carries no gradient.
    """

    stateful = True
    uses_context = True

    @property
    def has_exact_gradient_in_c(self) -> bool:
        """Whether C's backward pass computes the derivative, limited as in ``limit_gradient``."""
        return False

    def start(self, x: Tensor) -> State:
        """Return the initial state for a frame ``x`` [batch, channels, height, width]: zeros, [batch, ...] each."""
        return (x.new_zeros(x.shape[0], *self.shape),)

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute the output and the next state for one frame ``x`` [batch, channels, height, width]."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """Return [time_steps * batch, *shape] for ``x`` [time_steps * batch, channels, height, width]."""
        steps = 1 if context is None else context.time_steps
        frames = (x,) if steps == 1 else x.chunk(steps)
        state = self.start(frames[0])
        if self._continues(context) and self.state is not None and _have_same_shapes(state, self.state):
            state = self.state
        outputs = []
        for frame in frames:
            y, state = self.step(frame, state, context)
            outputs.append(y)
        keep = not self.training or context is not None
        self.state = tuple(part.detach() for part in state) if keep else None
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _continues(self, context: StepContext | None) -> bool:
        """Whether this call continues the sequence of the previous call."""
        if not self.training:
            return True
        return context is not None and context.subdivision % context.sequence != 0

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield the arrays of the parts, in the order of ``parts``."""
        for name in self.parts():
            part = self.get_submodule(name)
            assert isinstance(part, Layer)
            yield from ((f"{name}.{array}", tensor) for array, tensor in part.stored(transposed))

    def run_part(self, name: str, x: Tensor, context: StepContext | None) -> Tensor:
        """Return the output of the part ``name`` for ``x`` [batch, channels, height, width]."""
        y: Tensor = self.get_submodule(name)(x, context=context)
        return y

    def parts(self) -> tuple[str, ...]:
        """Names of the layers that this one consists of, in the order of a .weights file."""
        raise NotImplementedError

    @property
    def window(self) -> Window:
        """Every cell: convolutions of the state reach further with every frame."""
        return WHOLE_MAP

    @property
    def flops(self) -> float:
        """Sum of the parts' operations."""
        return sum(part.flops for part in self.children() if isinstance(part, Layer))


class ThreePart(Recurrent):
    """state = input(x) + self(state), both activated before the sum; output(state) leaves the layer."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of both ``[rnn]`` and ``[crnn]``."""

        activation: Activation = option(Activation.LOGISTIC, "activation of all three parts")
        batch_normalize: int = option(0, "batch norm in all three parts", min=0)
        shortcut: bool = option(False, "add the old state to the new one")

    options: Options
    input_layer: Layer
    self_layer: Layer
    output_layer: Layer

    @property
    def has_exact_gradient_in_c(self) -> bool:
        """Whether C's backward pass computes the derivative: not with batch norm or ``shortcut=1``."""
        return not (self.options.batch_normalize or self.options.shortcut)

    def start(self, x: Tensor) -> State:
        """Return zeros of the state's shape."""
        return (x.new_zeros(x.shape[0], *self.self_layer.shape),)

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute one frame ``x`` [batch, channels, height, width]; the state is one tensor [batch, hidden, ...]."""
        (old,) = state
        new = self.input_layer(x, context=context) + self.self_layer(old, context=context)
        new = old + new if self.options.shortcut else new
        return self.output_layer(new, context=context), (new,)

    def parts(self) -> tuple[str, ...]:
        """Input, state, output."""
        return ("input_layer", "self_layer", "output_layer")


def part_options(kind: type[T], whole: Layer.Options, **keys: Any) -> T:
    """Create the options of a part, with the dialect of the whole layer."""
    return replace(kind(dialect=whole.dialect), **keys)


def _have_same_shapes(a: State, b: State) -> bool:
    return all(p.shape == q.shape and p.device == q.device for p, q in zip(a, b, strict=True))
