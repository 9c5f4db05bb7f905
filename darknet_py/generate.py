"""``generate``: text from a network that has learnt to go on with one (Darknet's ``rnn generate``)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from .errors import DataError
from .layers import ClassifierHead
from .network import Network, evaluating

_RARE = 0.0001  # probability below which a character never comes


def generate(
    network: Network, *, start: bytes = b"\n\n", length: int = 1000, temperature: float = 0.7, seed: int = 0
) -> Iterator[bytes]:
    """Yield ``start`` and then ``length`` characters, one by one.

    ``temperature``: below 1 the likely ones come more often than the network thinks, above 1 less; 0: always the
    likeliest. ``seed``: of the choice. Raises DataError for a start or network that this cannot be done with.
    """
    inputs = network.shape.floats
    if network[-1].shape.floats != inputs:
        raise DataError(f"{inputs} inputs but {network[-1].shape.floats} outputs: expected a network for characters")
    if not start or max(start) >= inputs:
        raise DataError(f"start: expected characters in 0..{inputs - 1}, at least one, got {start!r}")
    if temperature < 0:
        raise DataError(f"temperature: expected 0 or more, got {temperature}")
    return _characters(network, start, length, temperature, random.Random(seed))


def _characters(
    network: Network, start: bytes, length: int, temperature: float, chance: random.Random
) -> Iterator[bytes]:
    own = next((layer.temperature for layer in reversed(list(network)) if isinstance(layer, ClassifierHead)), 1.0)
    with evaluating(network):
        network.reset()
        for number in start[:-1]:
            _probabilities(network, number)
        yield start
        number = start[-1]
        for _ in range(length):
            number = _drawn(_probabilities(network, number), temperature / own, chance)
            yield bytes((number,))
        network.reset()


@torch.inference_mode()
def _probabilities(network: Network, number: int) -> Tensor:
    """Of the character that follows ``number``, [inputs]."""
    x = torch.zeros(1, network.shape.floats, device=next(network.parameters()).device)
    x[0, number] = 1
    output: Tensor = network(x)[-1]
    return output.flatten().double().cpu()


def _drawn(probabilities: Tensor, temperature: float, chance: random.Random) -> int:
    """A character, drawn as ``sample_array`` draws it."""
    if temperature == 0:
        return int(probabilities.argmax())
    # softmax(x / t) is softmax(x) to the power 1 / t, made to sum to 1.
    shares = probabilities.clamp(min=0) ** (1 / temperature)
    shares = shares / shares.sum()
    shares = torch.where(shares < _RARE, 0.0, shares)
    left = chance.random() * float(shares.sum())
    for number, share in enumerate(shares.tolist()):
        left -= share
        if left <= 0 and share:
            return number
    return int(shares.argmax())
