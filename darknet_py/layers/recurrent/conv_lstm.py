"""``[conv_lstm]``: ``[lstm]`` with convolutions (https://arxiv.org/abs/1506.04214)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...activations import Activation
from ...cfg.schema import option
from .._context import StepContext
from .._convolution import Convolution
from ..base import Layer, Shape, section
from ._recurrent import Recurrent, State, part_options

_FRAMES = 32  # the default limit of the cell, times the frames of a call


@section("conv_lstm")
class ConvLstm(Recurrent):
    """``activation`` is applied to each convolution before the gates sum them.

    ``bottleneck``, ``lstm_activation`` and ``shortcut`` follow ``forward_conv_lstm_layer_gpu``; C's CPU code crashes
    with the first and ignores the others.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_conv_lstm``."""

        size: int = option(3, "side of the kernels", min=1, max=1024)
        stride: int = option(1, "step", min=1, max=65536)
        dilation: int = option(1, "dilation of the kernels", min=1, max=65536)
        pad: bool = option(False, "padding of size / 2; padding is ignored")
        padding: int = option(0, "zero padding on every side", min=0, max=65536)
        output: int = option(1, "channels of the state, which is the output", min=1, max=1048576)
        groups: int = option(1, "channel groups", min=1, max=1048576)
        activation: Activation = option(Activation.LINEAR, "activation of every convolution, before the gates")
        batch_normalize: int = option(0, "batch norm in all parts", min=0, max=2)
        xnor: bool = option(False, "binary weights and inputs")
        peephole: bool = option(False, "peephole connections from the cell to the gates")
        bottleneck: bool = option(False, "one convolution over input and state feeds all gates")
        state_constrain: int = option(-1, "limit of the cell's absolute value; 0: none; -1: 32 * time_steps", min=-1)
        shortcut: bool = option(False, "with bottleneck: add the first half of its channels to the output")
        lstm_activation: Activation = option(Activation.TANH, "activation of the candidate and of the cell")
        time_normalizer: float = option(1.0, "factor of the gradient through time", train=True)

    options: Options

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        keys = ("size", "stride", "dilation", "pad", "padding", "groups", "activation", "batch_normalize", "xnor")
        shared = {key: getattr(options, key) for key in keys}
        part = part_options(Convolution.Options, options, filters=options.output, **shared)
        if options.bottleneck and x.channels != options.output:
            raise ValueError(f"bottleneck: expected output={options.output} input channels, got {x.channels}")
        for gate in "figo":
            on_input = Convolution(part, x)
            self.add_module(f"u{gate}", on_input)
        self.shape = on_input.shape
        if self.shape[1:] != x[1:]:
            raise ValueError(f"expected convolutions that keep the size: size={options.size} with pad=1 and stride=1")
        for gate in "f" if options.bottleneck else "figo":
            inputs = self.shape._replace(channels=2 * options.output) if options.bottleneck else self.shape
            self.add_module(f"w{gate}", Convolution(part, inputs))
        for gate in "fio" if options.peephole else "":
            self.add_module(f"v{gate}", Convolution(part, self.shape))

    def start(self, x: Tensor) -> State:
        """Return zeros for output and cell, each [batch, output, height, width]."""
        zeros = x.new_zeros(x.shape[0], *self.shape)
        return zeros, zeros

    def step(self, x: Tensor, state: State, context: StepContext | None = None) -> tuple[Tensor, State]:
        """Compute one frame (``forward_conv_lstm_layer_gpu``)."""
        h, c = state
        activation = self.options.lstm_activation
        if self.options.bottleneck:
            inner = self.run_part("wf", torch.cat((self._scale_gradient(h), x), dim=1), context)
            if self.darknet_gradients(context) and inner.requires_grad:
                inner.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0).clamp(-1, 1))
            x = activation(inner)
        f = torch.sigmoid(self._gate("f", x, h, c, context))
        i = torch.sigmoid(self._gate("i", x, h, c, context))
        c = f * c + i * activation(self._gate("g", x, h, None, context))
        h = torch.sigmoid(self._gate("o", x, h, c, context)) * activation(c)
        # As in C, h is computed before the cell is clamped. NaN becomes a small number in C and 0 here.
        steps = 1 if context is None else context.time_steps
        limit = self.options.state_constrain if self.options.state_constrain >= 0 else _FRAMES * steps
        cell = torch.nan_to_num(c, 0.0, 0.0, 0.0)
        cell = cell.clamp(-limit, limit) if limit else cell
        h = torch.nan_to_num(h, 0.0, 0.0, 0.0)
        y = h
        if self.options.shortcut and self.options.bottleneck:
            half = h.shape[1] // 2
            y = torch.cat((h[:, :half] + x[:, :half], h[:, half:]), dim=1)
        return y, (h, cell)

    def _scale_gradient(self, h: Tensor) -> Tensor:
        """Return ``h`` with its gradient scaled by ``time_normalizer``; C does so with a bottleneck only."""
        factor = self.options.time_normalizer
        if factor == 1 or not h.requires_grad:
            return h
        h = h.view_as(h)
        h.register_hook(lambda gradient: gradient * factor)
        return h

    def _gate(self, gate: str, x: Tensor, h: Tensor, c: Tensor | None, context: StepContext | None) -> Tensor:
        total = self.run_part(f"u{gate}", x, context)
        if not self.options.bottleneck:
            total = total + self.run_part(f"w{gate}", h, context)
        if self.options.peephole and c is not None:
            total = total + self.run_part(f"v{gate}", c, context)
        return total

    def parts(self) -> tuple[str, ...]:
        """Those of peepholes f i o, state f i g o and input f i g o that the layer has, in this order."""
        order = [f"{kind}{gate}" for kind, gates in (("v", "fio"), ("w", "figo"), ("u", "figo")) for gate in gates]
        return tuple(name for name in order if name in self._modules)

    @property
    def flops(self) -> float:
        """Those of the parts and 9 per output value for the gates, 12 with peepholes."""
        return super().flops + (12 if self.options.peephole else 9) * self.shape.floats

    def describe(self) -> str:
        """Channels, kernel."""
        return f"{self.options.output} {self.options.size}x{self.options.size}"
