"""How an iteration's gradients change the parameters: Darknet's momentum, or adam.

With g the gradient summed over the B images of the iteration, v the velocity and r the rate

    v = momentum * v - g - decay * B * w,    w = w + r / B * v

which is torch's SGD on g / B but for the units of v. Only ``weights`` decay, not biases and scales
(``update_convolutional_layer_gpu``). Adam works on the sum, not the mean, and everything decays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..cfg.net_section import Net
from ..layers import Deformation, Layer


@dataclass(frozen=True)
class Rule:
    """What parameters that are updated alike have in common."""

    learning_rate: float
    decays: bool
    clip: float  # limit of the parameter, 0: none
    limit: float  # of the velocity
    centred: bool  # each filter's velocity has mean 0
    after: float  # no update up to that iteration
    power: float = 0.0  # of the velocity that a step is made of; 0: it is the velocity
    deformation: Deformation | None = None  # that ties filters in the first half of training


@dataclass
class ParamGroup:
    """Parameters of one rule with the state of their update."""

    rule: Rule
    parameters: list[nn.Parameter] = field(default_factory=list)
    velocity: list[Tensor] = field(default_factory=list)
    square: list[Tensor] = field(default_factory=list)


class SGD:
    """Updates the parameters of layers.

    ``net``: the options that say how. ``on_cpu``: C's CPU build knows no layers that do not decay or whose
    velocity is limited.
    """

    def __init__(self, layers: Iterable[Layer], net: Net, *, on_cpu: bool = False) -> None:
        self.net = net
        groups: dict[Rule, ParamGroup] = {}
        for layer in layers:
            for name, parameter in layer.named_parameters():
                rule = _rule(layer, name.rpartition(".")[2] == "weights", net, on_cpu)
                groups.setdefault(rule, ParamGroup(rule)).parameters.append(parameter)
        self.groups = list(groups.values())
        for group in self.groups:
            group.velocity = [torch.zeros_like(p) for p in group.parameters]
            group.square = [torch.zeros_like(p) for p in group.parameters] if net.adam else []

    @torch.no_grad()
    def step(self, rate: float, images: int, iteration: int) -> None:
        """Use and drop the gradients that ``images`` images have left, in iteration 1, 2, ..."""
        for group in self.groups:
            chosen = [number for number, p in enumerate(group.parameters) if p.grad is not None]
            parameters: list[Tensor] = [group.parameters[number] for number in chosen]
            gradients = [p.grad for p in parameters if p.grad is not None]
            for p in parameters:
                p.grad = None
            if not parameters or iteration <= group.rule.after:
                continue
            velocity = [group.velocity[number] for number in chosen]
            tie = group.rule.deformation if iteration <= self.net.max_batches // 2 else None
            if self.net.adam:
                gradients = [tie.gathered(g) for g in gradients] if tie else gradients
                square = [group.square[number] for number in chosen]
                self._adam(group.rule, parameters, gradients, (velocity, square), rate, images, iteration)
            else:
                self._momentum(group.rule, parameters, gradients, velocity, rate, images, tie)
            if tie:
                torch._foreach_copy_(parameters, [tie.spread(p) for p in parameters])
            if group.rule.clip:
                torch._foreach_clamp_max_(parameters, group.rule.clip)
                torch._foreach_clamp_min_(parameters, -group.rule.clip)

    def _momentum(
        self,
        rule: Rule,
        parameters: list[Tensor],
        gradients: list[Tensor],
        velocity: list[Tensor],
        rate: float,
        images: int,
        tie: Deformation | None,
    ) -> None:
        torch._foreach_mul_(velocity, self.net.momentum)
        torch._foreach_sub_(velocity, gradients)
        if tie:
            torch._foreach_copy_(velocity, [tie.gathered(v) for v in velocity])
        if rule.centred:
            for v in velocity:
                v -= v.mean(dim=tuple(range(1, v.dim())), keepdim=True)
        if rule.limit < float("inf"):
            torch._foreach_clamp_max_(velocity, rule.limit)
            torch._foreach_clamp_min_(velocity, -rule.limit)
        if rule.power:  # mult_inverse_array_kernel; the velocity itself stays as it is
            sizes = [((10 * v.abs() + 1) ** rule.power).nan_to_num(0, 0, 0) for v in velocity]
            velocity = [torch.where(v < 0, -size, size) for v, size in zip(velocity, sizes, strict=True)]
        if rule.decays and self.net.decay:
            torch._foreach_add_(velocity, parameters, alpha=-self.net.decay * images)
        torch._foreach_add_(parameters, velocity, alpha=rate * rule.learning_rate / images)

    def _adam(
        self,
        rule: Rule,
        parameters: list[Tensor],
        gradients: list[Tensor],
        state: tuple[list[Tensor], list[Tensor]],
        rate: float,
        images: int,
        iteration: int,
    ) -> None:
        """``adam_update_gpu``: the step is not divided by the number of images."""
        (mean, square), net = state, self.net
        wanted = list(torch._foreach_add(gradients, parameters, alpha=net.decay * images))
        torch._foreach_neg_(wanted)
        torch._foreach_mul_(mean, net.B1)
        torch._foreach_add_(mean, wanted, alpha=1 - net.B1)
        torch._foreach_mul_(square, net.B2)
        torch._foreach_addcmul_(square, wanted, wanted, value=1 - net.B2)
        divisor = list(torch._foreach_div(square, float(1 - net.B2**iteration)))
        torch._foreach_sqrt_(divisor)
        torch._foreach_add_(divisor, net.eps)
        factor = float(rate * rule.learning_rate / (1 - net.B1**iteration))
        torch._foreach_addcdiv_(parameters, mean, divisor, value=factor)

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the parameters."""
        return {key: [list(getattr(group, key)) for group in self.groups] for key in ("velocity", "square")}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state_dict of the same layers and options. Raises ValueError where it does not fit."""
        for key in ("velocity", "square"):
            mine = [tensor for group in self.groups for tensor in getattr(group, key)]
            theirs = [tensor for group in state[key] for tensor in group]
            if [tensor.shape for tensor in mine] != [tensor.shape for tensor in theirs]:
                raise ValueError(f"the {key} of another network or recipe: its arrays do not fit this one's")
            for own, other in zip(mine, theirs, strict=True):
                own.copy_(other)


def _rule(layer: Layer, weights: bool, net: Net, on_cpu: bool) -> Rule:
    options = layer.options
    return Rule(
        learning_rate=options.learning_rate,
        decays=weights and (layer.decays or on_cpu),
        clip=options.clip if weights else 0.0,
        limit=float("inf") if on_cpu else layer.update_limit,
        centred=layer.centred and weights,
        after=max(options.dont_update, options.burnin_update * net.burn_in - 1),
        power=layer.step_power if weights and not on_cpu else 0.0,
        deformation=layer.deformation if weights and not on_cpu else None,
    )
