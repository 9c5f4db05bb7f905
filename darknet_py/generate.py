"""Generate text with a character-level language model (Darknet's ``rnn generate``)."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .layers import ClassifierHead
from .network import Network, evaluating

_LOG_2 = float(np.float32(math.log(2)))
_MIN_PROBABILITY = 0.0001  # less probable characters are never sampled


def generate_text(
    network: Network, *, start: bytes = b"\n\n", length: int = 1000, temperature: float = 0.7, seed: int = 0
) -> Iterator[bytes]:
    """Yield ``start`` and then ``length`` characters, one by one.

    Args:
        network: a network with as many outputs as inputs, one for each character.
        start: characters that the network reads first, at least one.
        length: number of characters to sample.
        temperature: divisor of the logits: below 1 sharpens the distribution, above 1 flattens it; 0: always
            the most probable character.
        seed: random seed.

    Raises:
        DataError: the network's inputs and outputs differ, or an argument is out of range.
    """
    inputs = _require_characters(network)
    if not start or max(start) >= inputs:
        raise DataError(f"start: expected characters in 0..{inputs - 1}, at least one, got {start!r}")
    if temperature < 0:
        raise DataError(f"temperature: expected 0 or more, got {temperature}")
    return _characters(network, start, length, temperature, random.Random(seed))


def perplexity(network: Network, seed: bytes, text: bytes) -> Iterator[str]:
    """Yield Darknet's line for each character of a text after the first, with the sums so far (``rnn valid``).

    Args:
        network: a network as in ``generate_text``.
        seed: characters that the network reads first; its prediction of the text's first character is not used.
        text: the text.

    Raises:
        DataError: the network's inputs and outputs differ, or a character is out of range.
    """
    inputs = _require_characters(network)
    if max(seed + text, default=0) >= inputs:
        raise DataError(f"text: expected characters in 0..{inputs - 1}, found {max(seed + text)}")
    with evaluating(network):
        network.reset()
        for character in seed:
            _predict(network, character)
        bits = np.float32(0)  # C adds up in float32
        words = 1
        for count, (character, following) in enumerate(itertools.pairwise(text), start=1):
            words += following in b" \n\t"
            prob = max(float(_predict(network, character)[following]), sys.float_info.min)
            bits = np.float32(float(bits) - math.log(prob) / _LOG_2)
            per_character, per_word = bits / np.float32(count), bits / np.float32(words)
            yield (
                f"{count} BPC: {per_character:4.4f}   Perplexity: {2.0 ** float(per_character):4.4f}    "
                f"Word Perplexity: {2.0 ** float(per_word):4.4f}"
            )
        network.reset()


def _require_characters(network: Network) -> int:
    """Return the number of characters. Raises DataError if inputs and outputs differ."""
    inputs = network.shape.floats
    if network[-1].shape.floats != inputs:
        raise DataError(f"{inputs} inputs but {network[-1].shape.floats} outputs: expected a network for characters")
    return inputs


def _characters(network: Network, start: bytes, length: int, temperature: float, rng: random.Random) -> Iterator[bytes]:
    heads = [layer for layer in network if isinstance(layer, ClassifierHead)]
    head_temperature = heads[-1].temperature if heads else 1.0
    with evaluating(network):
        network.reset()
        for character in start[:-1]:
            _predict(network, character)
        yield start
        character = start[-1]
        for _ in range(length):
            character = _sample(_predict(network, character), temperature / head_temperature, rng)
            yield bytes((character,))
        network.reset()


@torch.inference_mode()
def _predict(network: Network, character: int) -> Tensor:
    """Probability of each next character: float64 [inputs]."""
    x = torch.zeros(1, network.shape.floats, device=next(network.parameters()).device)
    x[0, character] = 1
    output: Tensor = network(x)[-1]
    return output.flatten().cpu().double()


def _sample(probs: Tensor, temperature: float, rng: random.Random) -> int:
    """Sample a character as ``sample_array`` does."""
    if temperature == 0:
        return int(probs.argmax())
    # softmax(x / t) is softmax(x) to the power 1 / t, normalised.
    probs = probs.clamp(min=0) ** (1 / temperature)
    probs = probs / probs.sum()
    probs = torch.where(probs < _MIN_PROBABILITY, 0.0, probs)
    remaining = rng.random() * float(probs.sum())
    for character, prob in enumerate(probs.tolist()):
        remaining -= prob
        if remaining <= 0 and prob:
            return character
    return int(probs.argmax())
