"""Why a layer's outputs may differ between two networks: first what the files say, then what the numbers look like.

Files are evidence: another option, another number in the weights. Where both sides read the same, the pattern
of the difference names the usual suspects among ports of Darknet.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..layers import Layer
from ..network import Network

_SAME = 1e-5  # rms-relative: what is equal but for rounding


def causes(number: int, a: Network | None, b: Network | None, left: Tensor, right: Tensor) -> list[str]:
    """What may make layer ``number`` differ, the surest first; ``left``, ``right``: its outputs."""
    found = []
    if a is not None and b is not None:
        found += in_options(number, a, b) + in_stored(number, a, b)
    return found or (in_numbers(left, right) if left.shape == right.shape else [])


def in_options(number: int, a: Network, b: Network) -> list[str]:
    """Keys of the section, and layers that are read, that are not the same."""
    if max(len(a.layers), len(b.layers)) <= number or min(len(a.layers), len(b.layers)) <= number:
        return [f"A has {len(a.layers)} layers, B {len(b.layers)}"]
    first, second = a[number].options, b[number].options
    names = [network.config.sections[1 + number].name for network in (a, b)]
    if type(first) is not type(second):
        return [f"the section is [{names[0]}] in A, [{names[1]}] in B"]
    found = []
    for field in dataclasses.fields(first):
        values = getattr(first, field.name), getattr(second, field.name)
        if "doc" in field.metadata and not field.metadata["train"] and values[0] != values[1]:
            found.append(f"{field.metadata['key'] or field.name}: {values[0]} in A, {values[1]} in B")
    if a.sources[number] != b.sources[number]:
        found.append(f"it reads layers {a.sources[number]} in A, {b.sources[number]} in B")
    return found


def in_stored(number: int, a: Network, b: Network) -> list[str]:
    """Arrays of the weights file that are not the same."""
    if max(number, 0) >= min(len(a.layers), len(b.layers)):
        return []
    first, second = _arrays(a[number]), _arrays(b[number])
    found = []
    if first.keys() != second.keys():
        found.append(f"it keeps {', '.join(first) or 'nothing'} in A, {', '.join(second) or 'nothing'} in B")
    for name in first.keys() & second.keys():
        mine, theirs = first[name], second[name]
        if mine.shape != theirs.shape:
            found.append(f"{name}: {list(mine.shape)} in A, {list(theirs.shape)} in B")
        elif not torch.equal(mine, theirs):
            apart = (mine - theirs).abs().flatten()
            most = int(apart.argmax())
            place = tuple(int(i) for i in torch.unravel_index(torch.tensor(most), mine.shape))
            values = f"{float(mine.flatten()[most]):.6g} in A, {float(theirs.flatten()[most]):.6g} in B"
            count = int((mine != theirs).sum())
            found.append(f"{name}: {count} of {mine.numel()} numbers differ, the most at {list(place)}: {values}")
    return sorted(found)


def in_numbers(left: Tensor, right: Tensor) -> list[str]:
    """What the pattern of the difference looks like."""
    left, right = left.double(), right.double()
    if not (left.isfinite().all() and right.isfinite().all()):
        return ["there are values that are no finite number"]
    scale = max(float(left.square().mean().sqrt()), 1e-12)
    apart = (left - right).abs() > _SAME * scale
    if not bool(apart.any()):
        return []
    if _near(left.flatten().sort().values, right.flatten().sort().values, scale):
        return ["the same numbers in another order: the layout of channels, or of the floats in the file"]
    found = _place(apart) if left.dim() == 3 else []
    if not bool((apart & (left > 0) & (right > 0)).any()):
        found.append("values differ only where they are negative: another activation, or its slope")
    elif left.dim() == 3:
        found += _channels(left, right, scale)
    return found or ["files and options say the same: arithmetic differs (padding, rounding of shapes, activation)"]


def _place(apart: Tensor) -> list[str]:
    channels = apart.any(dim=2).any(dim=1)
    if int(channels.sum()) <= max(1, len(channels) // 16) < len(channels):
        numbers = ", ".join(str(int(number)) for number in channels.nonzero().flatten()[:5])
        return [f"only {int(channels.sum())} of {len(channels)} channels differ ({numbers}): a part of the weights"]
    if min(apart.shape[1:]) > 4 and not bool(apart[:, 2:-2, 2:-2].any()):
        return ["only cells at the border differ: padding, or what a window makes of the last row and column"]
    return []


def _channels(left: Tensor, right: Tensor, scale: float) -> list[str]:
    """Whether each channel is a multiple of itself plus something, where both are positive."""
    if left[0].numel() < 16:
        return []
    both = (left > 0) & (right > 0)
    count = both.sum(dim=(1, 2)).clamp(min=1)
    x, y = left * both, right * both
    mean_x, mean_y = x.sum(dim=(1, 2)) / count, y.sum(dim=(1, 2)) / count
    dx, dy = (left - mean_x[:, None, None]) * both, (right - mean_y[:, None, None]) * both
    factor = (dx * dy).sum(dim=(1, 2)) / dx.square().sum(dim=(1, 2)).clamp(min=1e-30)
    rest = dy - factor[:, None, None] * dx
    known = count >= 8
    if not bool(known.any()) or float(rest[known].abs().max()) > 10 * _SAME * scale:
        return []
    factors = factor[known]
    if float((factors - 1).abs().max()) <= _SAME:
        return ["each channel is off by a constant: biases"]
    span = f"{float(factors.min()):.6f} to {float(factors.max()):.6f}"
    text = f"each channel of B is a multiple of A's ({span}): batch norm; "
    return [text + "its epsilon is 1e-5 in AlexeyAB's Darknet, 1e-6 in OpenCV and in pjreddie's on CPUs"]


def _near(left: Tensor, right: Tensor, scale: float) -> bool:
    return float((left - right).abs().max()) <= _SAME * scale


def _arrays(layer: Layer) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in layer.stored()}
