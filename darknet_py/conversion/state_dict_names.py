"""Weights from and to state dicts of other libraries, by the names of their tensors (``library_networks``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import WeightsError, list_first
from ..layers._norm import EPSILON
from ..network import Network
from ..weights import stored
from ..weights.darknet_file import require_plain
from .library_networks import LibraryNetwork, Modules


class _NamedArray(NamedTuple):
    """An array of the network and its tensor in the state dict."""

    label: str  # "layer 2 [convolutional] weights"
    array: Tensor
    name: str  # empty: the library has no bias here, so the array is zero
    shift: float  # what the array has more than the tensor
    reorder: Callable[[Tensor], Tensor] | None


@torch.no_grad()
def fill_by_name(network: Network, state: Mapping[str, Tensor], library: LibraryNetwork, path: str) -> Network:
    """Copy the tensors of another library's state dict into a network.

    Args:
        network: the network to fill; it is changed only if every tensor fits.
        state: tensors by name, without ``num_batches_tracked``. If the names of the network have a prefix
            (``module.``, ``backbone.``), tensors without it are left out.
        library: the library's network.
        path: name of the file, for errors.

    Returns:
        The network.

    Raises:
        WeightsError: a tensor is missing, has another shape or belongs to no layer, or the cfg is of another network.
    """
    require_plain(network)
    entries = list(_entries(network, library))
    remaining = _without_prefix({library.current_name(name): value for name, value in state.items()}, entries[0].name)
    pairs = list(_image_arrays(network, library))
    for label, array, name, shift, reorder in entries:
        if not name:
            pairs.append((array, torch.zeros_like(array)))
            continue
        value = remaining.pop(name, None)
        if value is None:
            raise WeightsError(f"{path}: expected a state dict of {library.name}, found no tensor {name}")
        if value.shape != array.shape:
            raise WeightsError(
                f"{path}: {label}: expected {tuple(array.shape)}, found {name} {tuple(value.shape)}; "
                "for another number of classes change output= in a copy of the cfg and name it (--cfg)"
            )
        pairs.append((array, (reorder(value) if reorder else value) + shift))
    if remaining:
        more = list_first(list(remaining), 3)
        raise WeightsError(f"{path}: expected a state dict of {library.name}, which has no tensor {more}")
    for array, value in pairs:
        array.copy_(value)
    return network


@torch.no_grad()
def library_state_dict(network: Network, library: LibraryNetwork) -> dict[str, Tensor]:
    """Return the weights of a network as copies, by the names of another library.

    Raises:
        WeightsError: the cfg is of another network, a bias is not 0 where the library has none, or layer 0 no longer
            makes the library's images.
    """
    path = network.config.path
    for array, value in _image_arrays(network, library):
        if not torch.allclose(array.cpu(), value):
            raise WeightsError(f"{path}: layer 0: expected the weights that make the images of {library.name}")
    state: dict[str, Tensor] = {}
    for label, array, name, shift, reorder in _entries(network, library):
        if name:
            value = array.detach().cpu() - shift
            state[name] = reorder(value) if reorder else value
        elif array.any():
            raise WeightsError(f"{path}: {label}: expected 0, as {library.name} has no bias here")
        if name.endswith(".running_var"):
            state[name.removesuffix("running_var") + "num_batches_tracked"] = torch.tensor(0)
    return state


def _entries(network: Network, library: LibraryNetwork) -> Iterator[_NamedArray]:
    groups = [list(group) for _, group in itertools.groupby(stored(network), key=lambda array: array.layer)][1:]
    path = network.config.path
    if len(groups) != len(library.layers):
        raise WeightsError(
            f"{path}: expected {len(library.layers)} layers with weights after the first, as in {library.name}, "
            f"found {len(groups)}"
        )
    for group, modules in zip(groups, library.layers, strict=True):
        names = _names(modules)
        place, _, _ = group[0].label.rpartition(" ")
        arrays = {array.label.rpartition(" ")[2]: array for array in group}
        if arrays.keys() != names.keys():
            expected, found = (", ".join(sorted(keys)) for keys in (names, arrays))
            raise WeightsError(f"{path}: {place}: expected {expected}, as in {library.name}, found {found}")
        for name, array in arrays.items():
            shift = library.epsilon - EPSILON if name == "rolling_variance" else 0.0
            reorder = modules.reorder if name == "weights" else None
            yield _NamedArray(array.label, array.tensor, names[name], shift, reorder)


def _names(modules: Modules) -> dict[str, str]:
    """Return the name of the tensor for each array of a layer."""
    weights, norm, has_bias, _ = modules
    names = {"weights": f"{weights}.weight"} if weights else {}
    if not norm:
        return names | {"biases": f"{weights}.bias" if has_bias else ""}
    arrays = {"biases": "bias", "scales": "weight", "rolling_mean": "running_mean", "rolling_variance": "running_var"}
    return names | {array: f"{norm}.{name}" for array, name in arrays.items()}


def _image_arrays(network: Network, library: LibraryNetwork) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the arrays of layer 0 with the values that they must have."""
    arrays = {array.label.rpartition(" ")[2]: array.tensor for array in stored(network, upto=1)}
    for name, values in zip(("weights", "biases"), library.images, strict=True):
        value = torch.tensor(values)
        array = arrays.get(name)
        if array is None or array.numel() != value.numel():
            raise WeightsError(
                f"{network.config.path}: layer 0: expected a 1x1 convolution of 3 filters, as in {library.name}.cfg"
            )
        yield array, value.view_as(array)


def _without_prefix(state: Mapping[str, Tensor], first: str) -> dict[str, Tensor]:
    """Return the tensors whose names start as that of ``first`` does, by the rest of their names."""
    found = [name for name in state if name == first or name.endswith(f".{first}")]
    prefix = min(found, key=len).removesuffix(first) if found else ""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
