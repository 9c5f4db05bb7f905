"""Fill a network from the state dict of another PyTorch port of Darknet, by the order of its tensors.

Such ports keep the layers in the order of the cfg but name them differently. So each layer is assigned the next
tensors, as many as it stores; within a layer they are matched by the last part of their name (``weight``, ``bias``,
``running_mean``, ``running_var``) and by shape. The network is changed only if every shape fits.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import WeightsError
from ..network import Network
from ..weights.darknet_file import require_plain

_ARRAY_NAMES = {
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


class _ArrayGroup(NamedTuple):
    """The arrays of a layer, or of one part of a recurrent layer."""

    location: str
    arrays: dict[str, Tensor]


@torch.no_grad()
def fill_by_order(network: Network, state: Mapping[str, Tensor], path: str, *, ordered: bool = True) -> Network:
    """Copy tensors into a network in the order of its layers.

    Args:
        network: The network to fill.
        state: Tensors by name.
        path: Name of the file, for errors.
        ordered: Whether ``state`` is in the order of the layers. A .safetensors file does not keep the order; then the
            numbers in the names decide.

    Returns:
        The network.

    Raises:
        WeightsError: The number of tensors or a shape does not fit, or the names do not give the order.
    """
    require_plain(network)
    groups = _array_groups(network)
    tensors = list(state.items()) if ordered else sorted(state.items(), key=lambda item: _split_numbers(item[0]))
    total = sum(len(group.arrays) for group in groups)
    counts = f"{len(tensors)} tensors in the file, expected {total}"
    pairs: list[tuple[Tensor, Tensor]] = []
    start = 0
    for group in groups:
        block = tensors[start : start + len(group.arrays)]
        if start and block and not ordered:
            _require_order(tensors[start - 1][0], block[0][0], path)
        start += len(group.arrays)
        if len(block) < len(group.arrays):
            raise WeightsError(f"{path}: ends before {group.location}: {counts}")
        try:
            pairs += _match_arrays(group.arrays, block)
        except ValueError as error:
            raise WeightsError(f"{path}: {group.location}: {error} ({counts})") from None
    if start < len(tensors):
        raise WeightsError(f"{path}: too many tensors, first {tensors[start][0]}: {counts}")
    for parameter, value in pairs:
        parameter.copy_(value.reshape(parameter.shape))
    return network


def _split_numbers(name: str) -> list[str | int]:
    """Split a name into text and numbers, in turns."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", name)]


def _require_order(first: str, second: str, path: str) -> None:
    """Raise WeightsError unless two names, of two layers, differ in a number first."""
    parts = zip(_split_numbers(first), _split_numbers(second), strict=False)
    if not any(isinstance(a, int) for a, b in itertools.islice(((a, b) for a, b in parts if a != b), 1)):
        raise WeightsError(
            f"{path}: a .safetensors file does not keep the order of its tensors, and their names do not number the "
            f"layers: {first}, {second}: expected a .pt file"
        )


def _array_groups(network: Network) -> list[_ArrayGroup]:
    groups: list[_ArrayGroup] = []
    for index, (layer, section) in enumerate(zip(network, network.config.sections[1:], strict=True)):
        for name, tensor in layer.stored():
            part, _, array = name.rpartition(".")
            location = f"layer {index} [{section.name}]{' ' + part if part else ''}"
            if not groups or groups[-1].location != location:
                groups.append(_ArrayGroup(location, {}))
            groups[-1].arrays[array] = tensor
    return groups


def _match_arrays(arrays: Mapping[str, Tensor], block: Sequence[tuple[str, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of a parameter and its value. Raises ValueError if a tensor fits no array."""
    remaining = dict(arrays)
    pairs = []
    for name, value in block:
        array = _array_name(name, value, arrays)
        parameter = remaining.pop(array, None)
        if parameter is None:
            shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in arrays.items())
            raise ValueError(f"expected {shapes}, found {name} {tuple(value.shape)}")
        if _squeezed_shape(parameter) != _squeezed_shape(value):
            raise ValueError(f"{array}: expected {tuple(parameter.shape)}, found {name} {tuple(value.shape)}")
        pairs.append((parameter, value))
    return pairs


def _array_name(name: str, value: Tensor, arrays: Mapping[str, Tensor]) -> str:
    if len(arrays) == 1:
        return next(iter(arrays))
    last = name.rpartition(".")[2]
    if last in _ARRAY_NAMES:
        return _ARRAY_NAMES[last]
    # "weight" names both a kernel and the scales of batch norm; only the scales are a vector.
    return "scales" if "scales" in arrays and value.dim() == 1 else "weights"


def _squeezed_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape without dimensions of length 1: a matrix may be stored as a 1x1 kernel."""
    return tuple(length for length in tensor.shape if length != 1)
