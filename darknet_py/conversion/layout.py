"""Weights of another program: the tensors of a state dict by their order, for what names do not tell.

PyTorch ports of Darknet keep the layers in the cfg's order but call them as they like. So the tensors are
dealt out in the file's order, as many to each layer as it stores, and within a layer by what they are:
the last word of a name (``weight``, ``bias``, ``running_mean``, ``running_var``) and the shape. Every
shape must fit, or nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import WeightsError
from ..network import Network

_WRAPPERS = ("state_dict", "model_state_dict", "model", "ema", "net", "network", "weights", "module")
_ROLES = {
    "bias": "biases",
    "biases": "biases",
    "beta": "biases",
    "running_mean": "rolling_mean",
    "rolling_mean": "rolling_mean",
    "moving_mean": "rolling_mean",
    "running_var": "rolling_variance",
    "rolling_variance": "rolling_variance",
    "moving_variance": "rolling_variance",
    "gamma": "scales",
    "scales": "scales",
}


class _Part(NamedTuple):
    """One set of biases, norm and weights: a layer, or a part of a recurrent one."""

    place: str
    wanted: dict[str, Tensor]


def tensors(content: Any, path: str) -> dict[str, Tensor]:
    """The state dict in what a .pt or .safetensors file holds, counters of batches left out."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    found = content if isinstance(content, Mapping) else {}
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if not state:
        raise WeightsError(f"{path}: no state dict: expected a dict of tensors by name")
    return state


@torch.no_grad()
def fill(network: Network, state: Mapping[str, Tensor], path: str) -> Network:
    """Fill a network from tensors in its layers' order and return it; ``path`` is what errors call them.

    Raises WeightsError where counts or shapes do not fit.
    """
    parts = _parts(network)
    given = list(state.items())
    total = sum(len(part.wanted) for part in parts)
    pairs, at = [], 0
    for part in parts:
        block = given[at : at + len(part.wanted)]
        at += len(part.wanted)
        counts = f"{len(given)} tensors in the file, {total} wanted"
        if len(block) < len(part.wanted):
            raise WeightsError(f"{path}: ends before {part.place}: {counts}")
        try:
            pairs += _matched(part.wanted, block)
        except ValueError as error:
            raise WeightsError(f"{path}: {part.place}: {error} ({counts})") from None
    if at < len(given):
        raise WeightsError(f"{path}: {given[at][0]} and what follows is too much: {len(given)} tensors, {total} wanted")
    for tensor, value in pairs:
        tensor.copy_(value.reshape(tensor.shape))
    return network


def _parts(network: Network) -> list[_Part]:
    parts: list[_Part] = []
    for index, (layer, section) in enumerate(zip(network, network.config.sections[1:], strict=True)):
        for name, tensor in layer.stored():
            part, _, array = name.rpartition(".")
            place = f"layer {index} [{section.name}]{' ' + part if part else ''}"
            if not parts or parts[-1].place != place:
                parts.append(_Part(place, {}))
            parts[-1].wanted[array] = tensor
    return parts


def _matched(wanted: Mapping[str, Tensor], block: Sequence[tuple[str, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a parameter and its value."""
    left = dict(wanted)
    pairs = []
    for name, value in block:
        role = _role(name, value, wanted)
        expected = left.pop(role, None)
        if expected is None:
            raise ValueError(f"expected {', '.join(_shown(wanted))}; {name} {tuple(value.shape)} is none of them")
        if _squeezed(expected) != _squeezed(value):
            raise ValueError(f"{role}: expected {tuple(expected.shape)}, found {name} {tuple(value.shape)}")
        pairs.append((expected, value))
    return pairs


def _role(name: str, value: Tensor, wanted: Mapping[str, Tensor]) -> str:
    if len(wanted) == 1:
        return next(iter(wanted))
    word = name.rpartition(".")[2]
    if word in _ROLES:
        return _ROLES[word]
    # A norm's factors and a kernel are both called weight; a norm's are a vector as long as the biases.
    return "scales" if "scales" in wanted and value.dim() == 1 else "weights"


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    """The shape without axes of length 1: a matrix may come as a 1 x 1 kernel."""
    return tuple(length for length in tensor.shape if length != 1)


def _shown(wanted: Mapping[str, Tensor]) -> list[str]:
    return [f"{name} {tuple(tensor.shape)}" for name, tensor in wanted.items()]
