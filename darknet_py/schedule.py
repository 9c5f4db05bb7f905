"""Images per iteration, learning rate and sequence length of training, from the options of [net] (``network.c``).

Every policy starts with ``burn_in`` iterations of warm-up, in which the learning rate rises with exponent ``power``.
poly uses the same exponent. poly and sgdr include the warm-up in their iteration count.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import cos, exp, pi

from .cfg.net_section import Net, Policy
from .errors import ConfigError

_MANY_EPOCHS = 10_000


def images_per_forward(net: Net) -> int:
    """Return the number of images in a mini-batch, C's ``net.batch``.

    It is ``batch // subdivisions * time_steps``, both factors at least 1.
    """
    return max(net.batch // max(net.subdivisions, 1), 1) * max(net.time_steps, 1)


def images_per_iteration(net: Net) -> int:
    """Return the number of images per update of the weights: those of ``subdivisions`` mini-batches.

    ``seen`` of a .weights file is a multiple of it. It differs from ``batch`` if time_steps > 1, or if ``batch`` is not
    a multiple of ``subdivisions``.
    """
    return images_per_forward(net) * max(net.subdivisions, 1)


def advised_iterations(images: int, classes: int) -> int:
    """Return AlexeyAB's number of iterations: 2000 per class of a detector, at least 6000 and the number of images."""
    return max(2000 * classes, 6000, images)


def length_note(net: Net, images: int, classes: int) -> str:
    """Return a sentence about a ``max_batches`` that is far too long for a data set, or an empty string.

    Args:
        net: The options of [net].
        images: Number of images in the data set; 0 if unknown.
        classes: Number of classes of a detector.
    """
    advised = advised_iterations(images, classes)
    epochs = net.max_batches * images_per_iteration(net) // images if images else 0
    if epochs <= _MANY_EPOCHS or net.max_batches <= advised:
        return ""
    return (
        f"max_batches={net.max_batches}: {epochs:,} epochs of {images:,} images; for {classes} classes {advised} "
        f"iterations are usual: max_batches={advised}, steps={advised * 4 // 5},{advised * 9 // 10}"
    )


def learning_rate(net: Net, iteration: int, rng: random.Random | None = None) -> float:
    """Return the learning rate of an update, before a layer's own factor (``get_current_rate``).

    Args:
        net: The options of [net].
        iteration: Number of the update; 1 for the first.
        rng: Random generator for policy=random; None: Python's global one.

    Raises:
        ConfigError: The policy's options contradict each other or are missing.
    """
    if iteration < net.burn_in:
        return float(net.learning_rate * (iteration / net.burn_in) ** net.power)
    if net.policy is Policy.RANDOM:
        return float(net.learning_rate * (rng or random).uniform(0, 1) ** net.power)
    return _POLICIES[net.policy](net, iteration)


def sequence_length(net: Net, iteration: int) -> int:
    """Return the number of mini-batches, 1 or more, over which recurrent layers keep their state.

    This is ``get_current_seq_subdivisions``.
    """
    parts = float(min(net.sequential_subdivisions or net.subdivisions, net.subdivisions))
    for step, scale in zip(net.steps, net.seq_scales, strict=False):
        if step > iteration:
            break
        parts *= scale
    return max(1, net.subdivisions // max(1, min(int(parts), net.subdivisions)))


def _steps(net: Net, iteration: int) -> float:
    if len(net.steps) != len(net.scales):
        raise ConfigError(
            f"policy=steps: expected one scale per step, got {len(net.scales)} scales for {len(net.steps)} steps"
        )
    lr = net.learning_rate
    for step, scale in zip(net.steps, net.scales, strict=True):
        if step > iteration:
            break
        lr *= scale
    return lr


def _poly(net: Net, iteration: int) -> float:
    return float(net.learning_rate * max(0.0, 1 - iteration / _max_batches(net)) ** net.power)


def _sgdr(net: Net, iteration: int) -> float:
    start = 0
    cycle = net.sgdr_cycle or _max_batches(net)
    while start + cycle < iteration and net.sgdr_mult > 0:
        start += cycle
        cycle *= net.sgdr_mult
    amplitude = net.learning_rate - net.learning_rate_min
    return net.learning_rate_min + 0.5 * amplitude * (1 + cos(pi * (iteration - start) / cycle))


def _max_batches(net: Net) -> int:
    if net.max_batches < 1:
        raise ConfigError(
            f"policy={net.policy}: expected max_batches, the total number of iterations, got {net.max_batches}"
        )
    return net.max_batches


_POLICIES: dict[Policy, Callable[[Net, int], float]] = {
    Policy.CONSTANT: lambda net, iteration: net.learning_rate,
    Policy.STEP: lambda net, iteration: net.learning_rate * net.scale ** (iteration // max(net.step, 1)),
    Policy.STEPS: _steps,
    Policy.EXP: lambda net, iteration: float(net.learning_rate * net.gamma**iteration),
    Policy.POLY: _poly,
    Policy.SIG: lambda net, iteration: net.learning_rate / (1 + exp(min(net.gamma * (iteration - net.step), 700))),
    Policy.SIGMOID: lambda net, iteration: net.learning_rate / (1 + exp(min(net.gamma * (iteration - net.step), 700))),
    Policy.SGDR: _sgdr,
}
