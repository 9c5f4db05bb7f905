"""``ParamGroup``: a layer's parameters with the hyperparameters of their update."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ._deformation import Deformation


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Parameters with the same update rule, which ``training.optimizer`` implements.

    Attributes:
        params: The parameters; may be empty.
        lr_factor: Factor on the network's learning rate.
        weight_decay: Whether ``decay=`` of [net] applies.
        clip: Limit of a parameter's absolute value after the update; 0 for none.
        velocity_limit: Limit of the velocity's absolute value.
        centralise: Gradient centralisation: subtract each filter's mean from its velocity (``grad_centr=``).
        power: Exponent p of the update ``sign(v) * (10 * abs(v) + 1) ** p`` (``reverse=``); 0 selects plain SGD.
        deformation: Ties filters to deformed copies of others in the first half of training.
        dont_update: Iterations at the start of training without an update.
        burnin_update: No update before this many times ``burn_in`` iterations.
    """

    params: tuple[nn.Parameter, ...]
    lr_factor: float = 1.0
    weight_decay: bool = False
    clip: float = 0.0
    velocity_limit: float = float("inf")
    centralise: bool = False
    power: float = 0.0
    deformation: Deformation | None = None
    dont_update: int = 0
    burnin_update: int = 0
