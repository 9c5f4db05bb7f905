"""What is wrong with weights: a file that does not fit its network, and NaN or Inf."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from .. import initial_values
from ..errors import WeightsError, WeightsWarning, list_first
from ..layers import Head, Layer
from ..network import INPUT, Network
from .state_dicts import layer_of

_FOREIGN = (
    (b"PK\x03\x04", "a zip file, as torch.save writes: is it a PyTorch checkpoint?"),
    (b"\x80\x02", "a pickle, as old torch.save writes: is it a PyTorch checkpoint?"),
    (b"\x80\x04", "a pickle"),
    (b"version https://git-lfs", "a git-lfs pointer: run git lfs pull for the file itself"),
    (b"<", "a web page: the download gave an error page instead of the file"),
    (b"\x1f\x8b", "gzip data: unpack it first"),
    (b"[net]", "the text of a cfg: are cfg and weights swapped?"),
    (b"{", "JSON text, as the index of weights in several files: merge these into one"),
    (b"\x89HDF", "an HDF5 file, as Keras writes"),
    (b"\xff\xd8\xff", "a JPEG image"),
)


_HEADER_DIFFERENCES = (4, 8)  # bytes: headers of 12, 16 and 20 bytes are in use
_MAX_VERSION = 1000  # of the three numbers in a header; pjreddie tests for this one
_LAYERS_NAMED = 5  # in a message


class Array(Protocol):
    """An array of a .weights file (``weights.StoredArray``)."""

    @property
    def layer(self) -> int:
        """Index of its layer."""

    @property
    def label(self) -> str:
        """Layer and name, for error messages."""

    @property
    def tensor(self) -> Tensor:
        """The parameter or buffer itself."""


def identify_format(start: bytes) -> str:
    """Describe the format of a file that starts with these bytes; ``""`` if it may be a .weights file."""
    if start[8:10] == b'{"':
        return "a safetensors file"
    if _is_big_endian(start):
        return "numbers in big-endian byte order, where Darknet writes little-endian ones"
    stripped = start.lstrip()
    return next(
        (description for magic, description in _FOREIGN if stripped.startswith(magic) or start.startswith(magic)), ""
    )


def count_non_finite(arrays: Iterable[Array]) -> dict[str, tuple[int, int]]:
    """Count NaN and Inf by layer: ``{"layer 3 [convolutional]": (NaN, Inf)}``, layers without any left out."""
    counts: dict[str, tuple[int, int]] = {}
    for array in arrays:
        tensor = array.tensor.detach()
        # The largest magnitude is NaN or Inf if any value is, and costs no temporary tensor.
        if not tensor.numel() or tensor.is_meta or bool(torch.linalg.vector_norm(tensor, math.inf).isfinite()):
            continue
        layer = array.label[: array.label.index("]") + 1]
        nan, inf = counts.get(layer, (0, 0))
        counts[layer] = nan + int(tensor.isnan().sum()), inf + int(tensor.isinf().sum())
    return counts


def describe_non_finite(arrays: Iterable[Array]) -> str:
    """Describe NaN and Inf in weights, layer by layer; ``""`` if there are none."""
    counts = count_non_finite(arrays)
    if not counts:
        return ""
    rows = [f"{layer} {_counted(*numbers)}" for layer, numbers in counts.items()]
    more = f" and {len(rows) - _LAYERS_NAMED} more layers" if len(rows) > _LAYERS_NAMED else ""
    return f"{_counted(*map(sum, zip(*counts.values(), strict=True)))}: {', '.join(rows[:_LAYERS_NAMED])}{more}"


def require_memory(network: Network) -> None:
    """Raise WeightsError for a network on the meta device, whose tensors have no values."""
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        raise WeightsError(
            f"{network.config.path}: the network has no weights, as it is on the meta device: expected "
            "network.to_empty(device='cpu') before weights are loaded"
        )


def random_layers(network: Network) -> list[int]:
    """Return the numbers of the layers whose weights are still the random ones that ``Network.initialise`` has set."""
    same = set(initial_values.unchanged(network, network.initial_values))
    sampled: dict[int, list[str]] = {}
    for name in network.initial_values:
        sampled.setdefault(layer_of(name), []).append(name)
    return [layer for layer, names in sampled.items() if same.issuperset(names)]


def warn_of_random_weights(network: Network) -> None:
    """Warn if weights were neither loaded nor trained, so that the network's outputs mean nothing.

    Raises:
        WeightsError: the network is on the meta device and has no weights at all.
    """
    require_memory(network)
    layers = random_layers(network)
    if layers:
        warnings.warn(
            f"{network.config.path}: random weights in layers {list_first(layers, _LAYERS_NAMED)}: expected loaded or "
            "trained ones, as in load(CFG, WEIGHTS)",
            WeightsWarning,
            stacklevel=3,
        )


def warn_of_non_finite(arrays: Iterable[Array], path: str) -> None:
    """Warn of NaN and Inf in the weights of a file."""
    if problem := describe_non_finite(arrays):
        warnings.warn(f"{path}: the weights contain {problem}", WeightsWarning, stacklevel=3)


def require_finite(
    arrays: Iterable[Array], path: str, advice: str = "allow_non_finite=True, --allow-non-finite: accept them"
) -> None:
    """Raise WeightsError if weights contain NaN or Inf; ``path``: their cfg, ``advice``: what allows them."""
    if problem := describe_non_finite(arrays):
        raise WeightsError(f"{path}: the weights contain {problem}; expected numbers ({advice})")


def _counted(nan: int, inf: int) -> str:
    return ", ".join(f"{count} {name}" for name, count in (("NaN", nan), ("Inf", inf)) if count)


def _is_big_endian(start: bytes) -> bool:
    """Whether the version is one that exists when its bytes are reversed, and huge when they are not."""
    if len(start) < 12:
        return False
    little, big = (struct.unpack(f"{order}iii", start[:12]) for order in "<>")
    return max(little) >= 2**24 and all(0 <= part <= _MAX_VERSION for part in big)


def explain(network: Network, arrays: Sequence[Array], left: int) -> str:
    """Explain where a file does not fit, and the likely cause.

    Args:
        network: the network.
        arrays: the arrays that the file should contain.
        left: bytes in the file after its header.
    """
    sizes = [4 * array.tensor.numel() for array in arrays]
    ends = list(accumulate(sizes))
    total = ends[-1] if ends else 0
    if left > total:
        after = f"after {arrays[-1].label}, the last array" if arrays else "as the network has no weights"
        text = f"expected {total} bytes of weights, found {left}: {left - total} too many {after}"
    else:
        last = next(index for index, end in enumerate(ends) if end > left)
        rest = left - (ends[last] - sizes[last])
        text = f"ends in {arrays[last].label}: expected {sizes[last]} bytes, found {rest}"
        if rest == 0 and (last == 0 or arrays[last - 1].layer != arrays[last].layer):
            layer = arrays[last].layer
            hint = f": a backbone, load it with upto={layer}" if last else ""
            return f"{text}; the file ends where layer {layer} begins{hint}"
    if abs(left - total) in _HEADER_DIFFERENCES:
        longer = "longer" if left > total else "shorter"
        return f"{text}; its header may be {abs(left - total)} bytes {longer} than that of its version"
    return text + _suggest_classes(network, left - total)


def _suggest_classes(network: Network, surplus: int) -> str:
    """Suggest the number of classes, or of outputs of the last layer, for which the file would fit."""
    if not any(True for layer in network for _ in layer.stored()):
        return ""
    fitting = matching_classes(network, surplus)
    if fitting is None:
        return "; the weights are of another network, or the file is damaged"
    if network.heads:
        return f"; it would fit with [{network.heads[-1].names[0]}] classes={fitting}"
    last = next(layer for layer in reversed(list(network)) if any(True for _ in layer.stored()))
    return f"; it would fit with {fitting} outputs of the last [{last.names[0]}] instead of {last.shape.channels}"


def matching_classes(network: Network, surplus: int) -> int | None:
    """Return the number of classes for which a file fits; without heads, of outputs of the last layer with weights.

    Args:
        network: the network.
        surplus: bytes in the file minus expected bytes.

    Returns:
        The number; None if there is no such number.
    """
    layers = list(network)
    heads = [(index, layer) for index, layer in enumerate(layers) if isinstance(layer, Head)]
    if heads:
        growth = 0.0  # bytes per class
        for index, head in heads:
            more, now = head.inputs_for(head.classes + 1), head.inputs_for(head.classes)
            for source, large, small in zip(network.sources[index], more, now, strict=True):
                growth += (large - small) * _bytes_per_output(layers[source]) if source != INPUT else 0
        current = heads[-1][1].classes
    else:
        last = next((layer for layer in reversed(layers) if any(True for _ in layer.stored())), None)
        if last is None:
            return None
        growth = _bytes_per_output(last)
        current = last.shape.channels
    fitting = current + surplus / growth if growth else 0
    return int(fitting) if fitting >= 1 and fitting == int(fitting) else None


def _bytes_per_output(layer: Layer) -> float:
    return 4 * sum(tensor.numel() for _, tensor in layer.stored()) / layer.shape.channels
