"""What recurrent layers share: time-major batches and a state that lasts from call to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...activations import Activation
from ...cfg.schema import option
from .._context import StepContext
from ..base import Layer

State = tuple[Tensor, ...]
T = TypeVar("T", bound=Layer.Options)


class Recurrent(Layer):
    """``steps`` frames a call, one after another: rows t * batch ... of the input are frame t.

    As in Darknet the state starts at zero and is kept between calls; ``reset()`` forgets it, and so
    does a call with another batch size or device. In training the state starts at zero with every
    ``sequence`` of mini-batches (see ``Moment``; C's crnn and rnn always forget) and carries no gradient.
    """

    stateful = True
    uses_context = True

    def start(self, x: Tensor) -> State:
        """The state before the first frame, for one frame ``x`` [batch, channels, height, width]."""
        return (x.new_zeros(x.shape[0], *self.shape),)

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Output and next state for one frame."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: StepContext | None = None) -> Tensor:
        """[steps * batch, ...] to [steps * batch, *shape]."""
        steps = 1 if context is None else context.time_steps
        frames = (x,) if steps == 1 else x.chunk(steps)
        state = self.start(frames[0])
        if self._goes_on(context) and self.state is not None and _alike(state, self.state):
            state = self.state
        outputs = []
        for frame in frames:
            y, state = self.step(frame, state, context)
            outputs.append(y)
        keep = not self.training or context is not None
        self.state = tuple(part.detach() for part in state) if keep else None
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _goes_on(self, context: StepContext | None) -> bool:
        """Whether this call follows the one before."""
        if not self.training:
            return True
        return context is not None and context.subdivision % context.sequence != 0

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """What the parts hold, in the order of ``parts``."""
        for name in self.parts():
            part = self.get_submodule(name)
            assert isinstance(part, Layer)
            yield from ((f"{name}.{array}", tensor) for array, tensor in part.stored(transposed))

    def run_part(self, name: str, x: Tensor, context: StepContext | None) -> Tensor:
        """The output of the part called ``name``."""
        y: Tensor = self.get_submodule(name)(x, context=context)
        return y

    def parts(self) -> tuple[str, ...]:
        """Names of the layers this one is made of, in the order of a file."""
        raise NotImplementedError

    @property
    def flops(self) -> float:
        """Those of the parts."""
        return sum(part.flops for part in self.children() if isinstance(part, Layer))


class ThreePart(Recurrent):
    """state = input(x) + self(state), both activated before the sum; output(state) leaves the layer."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """What both plain recurrent layers have."""

        activation: Activation = option(Activation.LOGISTIC, "of all three parts")
        batch_normalize: int = option(0, "batch norm in all three parts")
        shortcut: bool = option(False, "add the old state to the new one")

    options: Options
    input_layer: Layer
    self_layer: Layer
    output_layer: Layer

    def start(self, x: Tensor) -> State:
        """Zeros of the state's shape."""
        return (x.new_zeros(x.shape[0], *self.self_layer.shape),)

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """One frame."""
        (old,) = state
        new = self.input_layer(x, context=context) + self.self_layer(old, context=context)
        new = old + new if self.options.shortcut else new
        return self.output_layer(new, context=context), (new,)

    def parts(self) -> tuple[str, ...]:
        """Input, state, output."""
        return ("input_layer", "self_layer", "output_layer")


def part_options(kind: type[T], whole: Layer.Options, **keys: Any) -> T:
    """Options for a part: the dialect and keys that concern reading are those of the whole layer."""
    return replace(kind(dialect=whole.dialect), **keys)


def _alike(a: State, b: State) -> bool:
    return all(p.shape == q.shape and p.device == q.device for p, q in zip(a, b, strict=True))
