"""Generate text with a character-level language model (Darknet's ``rnn generate``)."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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


def continue_text(
    network: Network, text: bytes, *, length: int = 1000, temperature: float = 0.7, seed: int = 0
) -> Iterator[bytes]:
    """Yield up to ``length`` characters that follow a text, and end before a line end that follows a full stop.

    Darknet's ``rnn generatetactic``; arguments and errors as for ``generate_text``.
    """
    before = b""
    for character in itertools.islice(
        generate_text(network, start=text, length=length, temperature=temperature, seed=seed), 1, None
    ):
        if before == b"." and character == b"\n":
            return
        yield character
        before = character


def line_vectors(network: Network, seed: bytes, lines: Iterable[bytes]) -> Iterator[tuple[bytes, list[float]]]:
    """Yield each line without blanks, and the output of the first layer after it and a blank (``rnn vec``).

    Args:
        network: a network with one input for each character.
        seed: characters that the network reads before each line, from an empty state.
        lines: the lines.

    Raises:
        DataError: a character is out of range.
    """
    seen: list[Tensor] = []
    handle = network[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        with evaluating(network):
            for line in lines:
                network.reset()
                text = bytes(character for character in line if character not in b" \t\n")  # ``strip``
                _require_range(seed + text, network.shape.floats)
                for character in seed + text + b" ":
                    seen.clear()
                    _predict(network, character)
                yield text, seen[-1].flatten().tolist()
            network.reset()
    finally:
        handle.remove()


def tactic_perplexity(network: Network, seed: bytes, text: bytes) -> Iterator[str]:
    """Yield Darknet's line for each character behind ``>>``, up to a full stop at a line's end (``rnn validtactic``).

    Args:
        network: a network as in ``generate_text``.
        seed: characters that the network reads first.
        text: the text.

    Raises:
        DataError: the network's inputs and outputs differ, or a character is out of range.
    """
    with _after_seed(network, seed, text):
        log_sum = np.float32(0)  # C adds up in float32
        count, parts, inside = 0, 1, False
        for pair in itertools.pairwise(text):
            probs = _predict(network, pair[0])
            if bytes(pair) == b".\n":
                inside = False
            if not inside:
                inside = bytes(pair) == b">>"
                parts += inside
                continue
            count += 1
            log_sum = np.float32(float(log_sum) + math.log(max(float(probs[pair[1]]), sys.float_info.min)) / _LOG_2)
            per_character, per_part = -log_sum / np.float32(count), -log_sum / np.float32(parts)
            yield (
                f"{count} {parts} Perplexity: {2.0 ** float(per_character):4.4f}    "
                f"Word Perplexity: {2.0 ** float(per_part):4.4f}"
            )


def perplexity(network: Network, seed: bytes, text: bytes) -> Iterator[str]:
    """Yield Darknet's line for each character of a text after the first, with the sums so far (``rnn valid``).

    Args:
        network: a network as in ``generate_text``.
        seed: characters that the network reads first; its prediction of the text's first character is not used.
        text: the text.

    Raises:
        DataError: the network's inputs and outputs differ, or a character is out of range.
    """
    with _after_seed(network, seed, text):
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


@contextmanager
def _after_seed(network: Network, seed: bytes, text: bytes) -> Iterator[None]:
    """Evaluate a network that has read ``seed``, from an empty state, and is to read ``text``. Raises DataError."""
    _require_range(seed + text, _require_characters(network))
    with evaluating(network):
        network.reset()
        for character in seed:
            _predict(network, character)
        yield
        network.reset()


def _require_characters(network: Network) -> int:
    """Return the number of characters. Raises DataError if inputs and outputs differ."""
    inputs = network.shape.floats
    if network[-1].shape.floats != inputs:
        raise DataError(f"{inputs} inputs but {network[-1].shape.floats} outputs: expected a network for characters")
    return inputs


def _require_range(text: bytes, inputs: int) -> None:
    if max(text, default=0) >= inputs:
        raise DataError(f"text: expected characters in 0..{inputs - 1}, found {max(text)}")


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
