"""The passes of an iteration: a mini-batch forward, its losses, and the gradients back into the parameters.

``torch`` goes back through the layers, hand-made gradients included: a layer with a loss passes on what
reaches it as it is, and C's delta is added at its input (see ``layers._loss``).
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..cfg import schema
from ..errors import ConfigError, DataError, UnusedOptionWarning
from ..layers import Gradients, Layer, Loss, StepContext, pad_targets, straight_through
from ..network import Network
from .loss_scale import GradScaler

Truths = Tensor | Sequence[Tensor]
_OBJECTS = 3  # dimensions of targets that are boxes


@runtime_checkable
class _OverwritesGradient(Protocol):
    """A layer that overwrites the gradient of its input in C's CPU build (``Gradients.DARKNET_CPU``)."""

    overwrites_input_gradient: bool


class StepOutput(NamedTuple):
    """A layer with a loss, its input, and what it says of it."""

    layer: Layer
    x: Tensor
    loss: Loss


class ForwardBackward:
    """Works mini-batches off, within ``training()``.

    ``freeze``: the first so many layers stay as they are, their batch norm included. ``amp``: a dtype to
    work in where it is safe. ``chance``: decides which mini-batches are attacked. Raises ConfigError for a
    network that has nothing to learn from.
    """

    def __init__(
        self, network: Network, gradients: Gradients, *, freeze: int, amp: torch.dtype | None, chance: random.Random
    ) -> None:
        self.network, self.options, self.gradients = network, network.options, gradients
        self.amp, self.chance = amp, chance
        self.scale = GradScaler(network.options.loss_scale, half=amp is torch.float16)  # of all gradients
        self.judges = [layer for layer in network if layer.has_loss]
        if not self.judges:
            raise ConfigError("no layer of the network has a loss: nothing to train for")
        if not 0 <= freeze <= len(network.layers):
            raise ConfigError(f"freeze: expected 0..{len(network.layers)}, the number of layers, got {freeze}")
        for option in schema.ineffective_options(
            network.config, (network.options, *(layer.options for layer in network))
        ):
            warnings.warn(str(option), UnusedOptionWarning, stacklevel=3)
        stops = [index for index, layer in enumerate(network) if layer.options.stopbackward == 1]
        statistics = [index + 1 for index, layer in enumerate(network) if layer.options.train_only_bn]
        self._asleep = max([freeze, *stops])  # layers before it neither learn nor keep statistics
        self._still = max([freeze, *(index + 1 for index in stops), *statistics])  # those before it do not learn

    @contextmanager
    def training(self, iteration: int) -> Iterator[None]:
        """The network as it trains after ``iteration`` updates; afterwards it is as it was."""
        was_training, bound = self.network.training, self._bound(iteration)
        try:
            self.network.train()
            for index, layer in enumerate(self.network):
                if index < self._asleep:
                    layer.eval()
                for parameter in layer.parameters():
                    parameter.requires_grad_(index >= bound and not layer.options.onlyforward)
            yield
        finally:
            self.network.requires_grad_(True)
            self.network.reset()
            self.network.train(was_training)

    def run(self, images: Tensor, targets: Truths, context: StepContext) -> list[StepOutput]:
        """Forward and backward; the parameters' gradients grow."""
        device = next(self.network.parameters()).device
        x = images.to(device, torch.float32)
        known = targets.to(device) if isinstance(targets, Tensor) else pad_targets(targets, device)
        if len(known) != len(x):
            raise DataError(f"{len(known)} targets for {len(x)} images")
        if known.dim() == _OBJECTS:
            context = replace(context, targets=known)
        if self._attacks(context):
            x = self._attacked(x, known, context)
        found = self._forward(x, known, context)
        roots, gradients = self._roots(found)
        if roots:
            torch.autograd.backward(roots, gradients)
        return found

    def _forward(self, x: Tensor, targets: Tensor, context: StepContext) -> list[StepOutput]:
        taken: list[tuple[Layer, Tensor, Tensor]] = []

        def take(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            assert isinstance(layer, Layer)
            taken.append((layer, inputs[0], output))
            return straight_through(inputs[0], output) if context.darknet_gradients else output

        with ExitStack() as hooks:
            for layer in self.judges:
                hooks.callback(layer.register_forward_hook(take).remove)
            for index, layer in enumerate(self.network):
                if self.gradients is Gradients.DARKNET_CPU:
                    hooks.callback(layer.register_forward_pre_hook(self._replaced(index)).remove)
                if layer.options.onlyforward:
                    hooks.callback(layer.register_forward_hook(_cut).remove)
            with torch.autocast(x.device.type, self.amp, enabled=self.amp is not None):
                self.network(x, context)
        return [StepOutput(layer, i, layer.loss(i.float(), o.float(), targets, context)) for layer, i, o in taken]

    def _replaced(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """A hook that keeps layer ``index`` from teaching those sources whose next layer replaces the gradient."""
        kept = [
            source < 0 or source == index - 1 or not isinstance(self.network[source + 1], _OverwritesGradient)
            for source in self.network.sources[index]
        ]
        return lambda layer, inputs: tuple(x if keep else x.detach() for x, keep in zip(inputs, kept, strict=True))

    def _roots(self, found: list[StepOutput]) -> tuple[list[Tensor], list[Tensor]]:
        """Where backward starts, and the gradients there."""
        if self.gradients is Gradients.AUTOGRAD:
            values = [one.loss.value for one in found if one.loss.value.requires_grad]
            return values, [torch.full_like(value, self.scale.factor) for value in values]
        live = [one for one in found if one.x.requires_grad]
        return [one.x for one in live], [(-self.scale.factor * one.loss.delta).to(one.x.dtype) for one in live]

    def _attacks(self, context: StepContext) -> bool:
        """Whether a mini-batch is attacked first: after burn-in, every second one by chance."""
        late = bool(self.options.adversarial_lr) and context.iteration > self.options.burn_in
        return late and self._bound(context.iteration) == 0 and self.chance.random() < 0.5

    def _attacked(self, x: Tensor, targets: Tensor, context: StepContext) -> Tensor:
        """The images, changed so that the network finds less in them (self-adversarial training)."""
        start = x.detach().clone().requires_grad_()
        nothing = torch.zeros_like(targets)
        roots, gradients = self._roots(
            self._forward(start, nothing, replace(context, adversarial=True, targets=nothing))
        )
        if not roots:
            return x
        (gradient,) = torch.autograd.grad(roots, start, gradients)
        strength = self.options.adversarial_lr * context.iteration / max(context.max_batches, 1) / self.scale.factor
        changed = (x - strength * gradient).clamp(0, 1).nan_to_num(0.0)  # as C's fmaxf makes it
        if self.options.contrastive:
            changed[1::2] = x[1::2]
        return changed

    def _bound(self, iteration: int) -> int:
        """Layers before it get no gradient."""
        now = max(iteration, 1)
        waiting = (index + 1 for index, layer in enumerate(self.network) if layer.options.stopbackward > now)
        return max([self._still, *waiting])


def _cut(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.detach()
