"""Optimizers with Darknet's update rules: ``SGD``, ``Adam``, and ``EMA``, the moving average of the parameters.

With g the gradient summed over the B images of an iteration, v the velocity and lr the learning rate, SGD is

    v = momentum * v - g - decay * B * w,    w = w + lr / B * v

which is torch's SGD on the mean gradient g / B, except for the units of v. Only weights decay, not biases and scales
(``update_convolutional_layer_gpu``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..cfg.net_section import Net
from ..errors import ConfigError
from ..layers import Deformation, Gradients, Layer, ParamGroup

_EMA_TAIL = 1000  # last iterations, which start from the averaged parameters


@dataclass
class _Update:
    """The tensors of one group that have a gradient, and the iteration they are updated in."""

    group: ParamGroup
    parameters: list[Tensor]
    gradients: list[Tensor]
    state: dict[str, list[Tensor]]
    lr: float
    images: int
    iteration: int
    deformation: Deformation | None


class Optimizer(ABC):
    """What ``SGD`` and ``Adam`` share: groups, state, and what happens before and after the update rule.

    Args:
        layers: The network's layers, in order.
        net: The options of [net].
        gradients: Selects Darknet's CUDA or CPU update rules.

    Raises:
        ConfigError: Filters that are to be tied to deformed copies do not divide into equal parts.
    """

    slots: ClassVar[tuple[str, ...]]  # names of the tensors kept for each parameter

    def __init__(self, layers: Iterable[Layer], net: Net, *, gradients: Gradients = Gradients.DARKNET) -> None:
        self.net = net
        merged: dict[ParamGroup, list[nn.Parameter]] = {}
        for index, layer in enumerate(layers):
            for group in layer.param_groups(gradients):
                if group.deformation and group.deformation.problem:
                    raise ConfigError(f"layer {index} [{layer.names[0]}] {group.deformation.problem}")
                merged.setdefault(replace(group, params=()), []).extend(group.params)
        self.groups = [replace(group, params=tuple(params)) for group, params in merged.items() if params]
        self._state: list[dict[str, list[Tensor]]] = []
        self._waiting: dict[int, list[Tensor]] = {}  # by number of the group, sums of gradients per parameter

    @property
    def state(self) -> list[dict[str, list[Tensor]]]:
        """For each group and slot a tensor per parameter; created at first use, on the parameters' device."""
        if not self._state:
            self._state = [
                {slot: [torch.zeros_like(p) for p in group.params] for slot in self.slots} for group in self.groups
            ]
        return self._state

    @torch.no_grad()
    def step(self, lr: float, images: int, iteration: int) -> None:
        """Update the parameters and drop their gradients.

        The gradients of parameters that are not to be updated yet add up, and are applied at their first update.

        Args:
            lr: Learning rate, before a layer's own factor.
            images: Number of images that the gradients are summed over.
            iteration: 1 for the first.
        """
        for index, (group, state) in enumerate(zip(self.groups, self.state, strict=True)):
            selected = [number for number, p in enumerate(group.params) if p.grad is not None]
            parameters: list[Tensor] = [group.params[number] for number in selected]
            gradients = [p.grad for p in parameters if p.grad is not None]
            for p in parameters:
                p.grad = None
            skipped = max(group.dont_update, group.burnin_update * self.net.burn_in - 1)
            if not parameters:
                continue
            if index in self._waiting or iteration <= skipped:
                sums = self._waiting.setdefault(index, [torch.zeros_like(p) for p in group.params])
                own_sums = [sums[number] for number in selected]
                torch._foreach_add_(own_sums, gradients)
                if iteration <= skipped:
                    continue
                gradients = own_sums
                del self._waiting[index]
            own_state = {slot: [tensors[number] for number in selected] for slot, tensors in state.items()}
            deformation = group.deformation if iteration <= self.net.max_batches // 2 else None
            self._update(_Update(group, parameters, gradients, own_state, lr, images, iteration, deformation))
            if deformation:
                torch._foreach_copy_(parameters, [deformation.tie(p) for p in parameters])
            if group.clip:
                torch._foreach_clamp_max_(parameters, group.clip)
                torch._foreach_clamp_min_(parameters, -group.clip)

    @abstractmethod
    def _update(self, update: _Update) -> None:
        """Apply the update rule to one group's parameters and state, in place."""

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the parameters: per slot and group a list of tensors.

        While updates are postponed, ``waiting`` has for each group that waits the sums of its gradients.
        """
        state: dict[str, Any] = {slot: [list(tensors[slot]) for tensors in self.state] for slot in self.slots}
        if self._waiting:
            state["waiting"] = {index: list(sums) for index, sums in self._waiting.items()}
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a ``state_dict``. Raises ValueError if it belongs to another network, optimizer or options."""
        if state.keys() - {"waiting"} != set(self.slots):
            raise ValueError(f"expected an optimizer state of {', '.join(self.slots)}, found {', '.join(state)}")
        for slot in self.slots:
            mine = [tensor for group in self.state for tensor in group[slot]]
            _copy(slot, mine, [tensor for group in state[slot] for tensor in group])
        self._waiting = {}
        for index, sums in state.get("waiting", {}).items():
            self._waiting[index] = [torch.zeros_like(p) for p in self.groups[index].params]
            _copy("waiting", self._waiting[index], sums)


def _copy(name: str, mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Copy tensors of a state. Raises ValueError if their shapes differ."""
    if [tensor.shape for tensor in mine] != [tensor.shape for tensor in theirs]:
        raise ValueError(f"the optimizer's {name} belongs to another network or other options: shapes differ")
    for own, other in zip(mine, theirs, strict=True):
        own.copy_(other)


class SGD(Optimizer):
    """Momentum SGD (``update_convolutional_layer_gpu``); the module's docstring has the formula."""

    slots = ("velocity",)

    def _update(self, update: _Update) -> None:
        group = update.group
        parameters = update.parameters
        velocity = update.state["velocity"]
        torch._foreach_mul_(velocity, self.net.momentum)
        torch._foreach_sub_(velocity, update.gradients)
        if update.deformation:
            torch._foreach_copy_(velocity, [update.deformation.average(v) for v in velocity])
        if group.centralise:
            for v in velocity:
                v -= v.mean(dim=tuple(range(1, v.dim())), keepdim=True)
        if group.velocity_limit < float("inf"):
            torch._foreach_clamp_max_(velocity, group.velocity_limit)
            torch._foreach_clamp_min_(velocity, -group.velocity_limit)
        if group.power:  # mult_inverse_array_kernel, which does not change the velocity itself
            sizes = [((10 * v.abs() + 1) ** group.power).nan_to_num(0, 0, 0) for v in velocity]
            velocity = [torch.where(v < 0, -size, size) for v, size in zip(velocity, sizes, strict=True)]
        if group.weight_decay and self.net.decay:
            torch._foreach_add_(velocity, parameters, alpha=-self.net.decay * update.images)
        torch._foreach_add_(parameters, velocity, alpha=update.lr * group.lr_factor / update.images)


class Adam(Optimizer):
    """Adam as C has it (``adam_update_gpu``): on the summed gradient, not its mean, and every parameter decays."""

    slots = ("mean", "square")

    def _update(self, update: _Update) -> None:
        net = self.net
        parameters = update.parameters
        gradients = update.gradients
        mean = update.state["mean"]
        square = update.state["square"]
        if update.deformation:
            gradients = [update.deformation.average(g) for g in gradients]
        direction = list(torch._foreach_add(gradients, parameters, alpha=net.decay * update.images))
        torch._foreach_neg_(direction)
        torch._foreach_mul_(mean, net.B1)
        torch._foreach_add_(mean, direction, alpha=1 - net.B1)
        torch._foreach_mul_(square, net.B2)
        torch._foreach_addcmul_(square, direction, direction, value=1 - net.B2)
        divisor = list(torch._foreach_div(square, float(1 - net.B2**update.iteration)))
        torch._foreach_sqrt_(divisor)
        torch._foreach_add_(divisor, net.eps)
        factor = float(update.lr * update.group.lr_factor / (1 - net.B1**update.iteration))
        torch._foreach_addcdiv_(parameters, mean, divisor, value=factor)


def build_optimizer(layers: Iterable[Layer], net: Net, *, gradients: Gradients = Gradients.DARKNET) -> Optimizer:
    """The optimizer that [net] selects: ``Adam`` with ``adam=1``, else ``SGD``."""
    return (Adam if net.adam else SGD)(layers, net, gradients=gradients)


class EMA:
    """Exponential moving average of a network's parameters (``ema_alpha=``, ``train_network_waitkey``).

    The average starts as a copy of the parameters after half of ``max_batches``. ``max_batches`` - 1000 iterations
    on it replaces the parameters, and the last 1000 iterations train from there.

    Attributes:
        tensors: The average of each parameter, in the order of ``network.parameters()``; None before it starts.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], net: Net) -> None:
        self._parameters: list[Tensor] = list(parameters)
        self._net = net
        self.tensors: list[Tensor] | None = None

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take the parameters after update ``iteration`` into the average, or the average into the parameters."""
        alpha = self._net.ema_alpha
        max_batches = self._net.max_batches
        if not alpha or iteration < max_batches // 2:
            return
        if self.tensors is None:
            self.tensors = [p.clone() for p in self._parameters]
        if iteration == max_batches - _EMA_TAIL:
            torch._foreach_copy_(self._parameters, self.tensors)
        elif iteration < max_batches - _EMA_TAIL:
            torch._foreach_lerp_(self.tensors, self._parameters, 1 - alpha)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network its averaged parameters inside the block, as ``_ema.weights`` holds them."""
        if self.tensors is None:
            yield
            return
        own = [p.detach().clone() for p in self._parameters]
        try:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, self.tensors)
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, own)

    def state_dict(self) -> list[Tensor] | None:
        """The averages; None before they start."""
        return self.tensors

    def load_state_dict(self, state: list[Tensor] | None) -> None:
        """Restore a ``state_dict``."""
        self.tensors = (
            None if state is None else [tensor.to(p) for tensor, p in zip(state, self._parameters, strict=True)]
        )
