"""The learning rate of every update, as ``[net]`` says it (``network.c get_current_rate``).

Every policy begins with ``burn_in`` updates that rise to the rate by the exponent ``power``, which poly
shares; poly and sgdr count from the first update, burn-in included.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import cos, exp, pi

from .cfg.net_section import Net, Policy
from .errors import ConfigError


def rate(net: Net, number: int, chance: random.Random | None = None) -> float:
    """The rate of update ``number`` (the first is 1), before a layer's own factor.

    ``chance``: where policy=random draws from. Raises ConfigError for keys that make no rate.
    """
    if number < net.burn_in:
        return float(net.learning_rate * (number / net.burn_in) ** net.power)
    if net.policy is Policy.RANDOM:
        return float(net.learning_rate * (chance or random).uniform(0, 1) ** net.power)
    return _POLICIES[net.policy](net, number)


def sequence(net: Net, number: int) -> int:
    """Mini-batches over which recurrent layers keep their state (``get_current_seq_subdivisions``), 1 or more."""
    parts = float(min(net.sequential_subdivisions or net.subdivisions, net.subdivisions))
    for step, scale in zip(net.steps, net.seq_scales, strict=False):
        if step > number:
            break
        parts *= scale
    return max(1, net.subdivisions // max(1, min(int(parts), net.subdivisions)))


def _steps(net: Net, number: int) -> float:
    if len(net.steps) != len(net.scales):
        raise ConfigError(f"policy=steps: {len(net.steps)} steps but {len(net.scales)} scales")
    value = net.learning_rate
    for step, scale in zip(net.steps, net.scales, strict=True):
        if step > number:
            break
        value *= scale
    return value


def _poly(net: Net, number: int) -> float:
    return float(net.learning_rate * max(0.0, 1 - number / _length(net)) ** net.power)


def _sgdr(net: Net, number: int) -> float:
    start, cycle = 0, net.sgdr_cycle or _length(net)
    while start + cycle < number and net.sgdr_mult > 0:
        start += cycle
        cycle *= net.sgdr_mult
    height = net.learning_rate - net.learning_rate_min
    return net.learning_rate_min + 0.5 * height * (1 + cos(pi * (number - start) / cycle))


def _length(net: Net) -> int:
    if net.max_batches < 1:
        raise ConfigError(f"policy={net.policy} needs max_batches, the number of updates in all")
    return net.max_batches


_POLICIES: dict[Policy, Callable[[Net, int], float]] = {
    Policy.CONSTANT: lambda net, number: net.learning_rate,
    Policy.STEP: lambda net, number: net.learning_rate * net.scale ** (number // max(net.step, 1)),
    Policy.STEPS: _steps,
    Policy.EXP: lambda net, number: float(net.learning_rate * net.gamma**number),
    Policy.POLY: _poly,
    Policy.SIG: lambda net, number: net.learning_rate / (1 + exp(min(net.gamma * (number - net.step), 700))),
    Policy.SIGMOID: lambda net, number: net.learning_rate / (1 + exp(min(net.gamma * (number - net.step), 700))),
    Policy.SGDR: _sgdr,
}
