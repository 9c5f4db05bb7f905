"""Probable causes of a difference between the outputs of a layer in two networks.

Different options or weights are certain causes and come first. Where options and weights agree, the pattern of the
difference points to common mistakes of Darknet ports.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..layers import Layer
from ..network import Network

_ROUNDING = 1e-5  # differences relative to the RMS that are only rounding


def diagnose(number: int, a: Network | None, b: Network | None, left: Tensor, right: Tensor) -> list[str]:
    """Return probable causes of the difference in layer ``number``, the most certain first.

    Args:
        number: Index of the layer.
        a: The network of side A, if it has one.
        b: The network of side B, if it has one.
        left: Output of the layer in A, float [channels, height, width].
        right: Output of the layer in B, float [channels, height, width].
    """
    causes = []
    if a is not None and b is not None:
        causes += compare_options(number, a, b) + compare_weights(number, a, b)
    return causes or (diagnose_values(left, right) if left.shape == right.shape else [])


def compare_options(number: int, a: Network, b: Network) -> list[str]:
    """Describe differences between the options and inputs of a layer in two networks."""
    if number >= min(len(a.layers), len(b.layers)):
        return [f"A has {len(a.layers)} layers, B has {len(b.layers)}"]
    first, second = a[number].options, b[number].options
    names = [network.config.sections[1 + number].name for network in (a, b)]
    if type(first) is not type(second):
        return [f"section: [{names[0]}] in A, [{names[1]}] in B"]
    causes = []
    for field in dataclasses.fields(first):
        values = getattr(first, field.name), getattr(second, field.name)
        if "doc" in field.metadata and not field.metadata["train"] and values[0] != values[1]:
            causes.append(f"{field.metadata['key'] or field.name}: {values[0]} in A, {values[1]} in B")
    if a.sources[number] != b.sources[number]:
        causes.append(f"inputs: layers {a.sources[number]} in A, {b.sources[number]} in B")
    return causes


def compare_weights(number: int, a: Network, b: Network) -> list[str]:
    """Describe differences between the stored arrays of a layer in two networks."""
    if number >= min(len(a.layers), len(b.layers)):
        return []
    first, second = _stored_arrays(a[number]), _stored_arrays(b[number])
    causes = []
    if first.keys() != second.keys():
        causes.append(f"stored arrays: {', '.join(first) or 'none'} in A, {', '.join(second) or 'none'} in B")
    for name in first.keys() & second.keys():
        left, right = first[name], second[name]
        if left.shape != right.shape:
            causes.append(f"{name}: shape {list(left.shape)} in A, {list(right.shape)} in B")
        elif not torch.equal(left, right):
            largest = int((left - right).abs().flatten().argmax())
            index = [int(i) for i in torch.unravel_index(torch.tensor(largest), left.shape)]
            values = f"{float(left.flatten()[largest]):.6g} in A, {float(right.flatten()[largest]):.6g} in B"
            count = int((left != right).sum())
            causes.append(f"{name}: {count} of {left.numel()} values differ, largest difference at {index}: {values}")
    return sorted(causes)


def diagnose_values(left: Tensor, right: Tensor) -> list[str]:
    """Return probable causes by the pattern of the difference between two outputs, float of the same shape."""
    left, right = left.double(), right.double()
    if not (left.isfinite().all() and right.isfinite().all()):
        return ["outputs contain NaN or Inf"]
    scale = max(float(left.square().mean().sqrt()), 1e-12)
    differs = (left - right).abs() > _ROUNDING * scale
    if not bool(differs.any()):
        return []
    if _is_close(left.flatten().sort().values, right.flatten().sort().values, scale):
        return ["same values in a different order: layout of channels, or of the arrays in the weights file"]
    causes = _diagnose_location(differs) if left.dim() == 3 else []
    if not bool((differs & (left > 0) & (right > 0)).any()):
        causes.append("only negative values differ: activation, or its slope")
    elif left.dim() == 3:
        causes += _diagnose_channels(left, right, scale)
    return causes or ["options and weights are equal: the computation differs (padding, rounding of sizes, activation)"]


def _diagnose_location(differs: Tensor) -> list[str]:
    channels = differs.any(dim=2).any(dim=1)
    if int(channels.sum()) <= max(1, len(channels) // 16) < len(channels):
        numbers = ", ".join(str(int(number)) for number in channels.nonzero().flatten()[:5])
        return [f"only {int(channels.sum())} of {len(channels)} channels differ ({numbers}): weights of these filters"]
    if min(differs.shape[1:]) > 4 and not bool(differs[:, 2:-2, 2:-2].any()):
        return ["only cells at the border differ: padding, or windows at the last row and column"]
    return []


def _diagnose_channels(left: Tensor, right: Tensor, scale: float) -> list[str]:
    """Test whether each channel of B is an affine function of A's, where both are positive."""
    if left[0].numel() < 16:
        return []
    both = (left > 0) & (right > 0)
    count = both.sum(dim=(1, 2)).clamp(min=1)
    x, y = left * both, right * both
    mean_x, mean_y = x.sum(dim=(1, 2)) / count, y.sum(dim=(1, 2)) / count
    dx, dy = (left - mean_x[:, None, None]) * both, (right - mean_y[:, None, None]) * both
    factor = (dx * dy).sum(dim=(1, 2)) / dx.square().sum(dim=(1, 2)).clamp(min=1e-30)
    residual = dy - factor[:, None, None] * dx
    sampled = count >= 8
    if not bool(sampled.any()) or float(residual[sampled].abs().max()) > 10 * _ROUNDING * scale:
        return []
    factors = factor[sampled]
    if float((factors - 1).abs().max()) <= _ROUNDING:
        return ["each channel differs by a constant: biases"]
    span = f"{float(factors.min()):.6f} to {float(factors.max()):.6f}"
    text = f"each channel of B is a multiple of A's ({span}): batch norm; "
    return [text + "its epsilon is 1e-5 in AlexeyAB's Darknet, 1e-6 in OpenCV and in pjreddie's CPU code"]


def _is_close(left: Tensor, right: Tensor, scale: float) -> bool:
    return float((left - right).abs().max()) <= _ROUNDING * scale


def _stored_arrays(layer: Layer) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in layer.stored()}
