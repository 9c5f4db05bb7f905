"""Filters that are tied to turned, stretched or mirrored copies of others: sway, rotate, stretch, stretch_sway.

The kernels of a convolution's weights, one for each filter and channel, fall into consecutive stages. The first
quarter of them is free. In each update C's CUDA code takes the velocity of every stage back to the frame of the first
one and gives all the mean; after it the first quarter is copied over the others, and each stage is deformed its own
way. All of that is linear, so a stage is a matrix over the places of a kernel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_GROUPS = 4  # of kernels that are averaged and copied, whatever the number of stages
_LEAST = 2  # places in a row
_KINDS = ("sway", "rotate", "stretch", "stretch_sway")
_STRETCHES = {"stretch": (0.65, 0.8, 1.3), "stretch_sway": (0.65, 0.8, 1.2, 1.4)}


@dataclass(frozen=True)
class Deformation:
    """``kind``: the key's name. ``angle``: whole degrees; of sway and stretch_sway. ``kernels``: how many there are."""

    kind: str
    angle: int
    kernels: int = 0

    @property
    def unfit(self) -> str:
        """Why it cannot be; empty where it can."""
        stages = len(_matrices(self.kind, self.angle, 1, False))
        if self.kernels % stages == 0:
            return ""
        return f"{self.kind} needs filters * channels / groups in {stages} equal parts, got {self.kernels}"

    def gathered(self, velocity: Tensor) -> Tensor:
        """Velocities [filters, channels, size, size], taken back and averaged (``reduce_and_expand_array``)."""
        back = self._deformed(velocity, reverse=True).view(_GROUPS, -1)
        return back.mean(dim=0).expand(_GROUPS, -1).reshape(velocity.shape)

    def spread(self, weights: Tensor) -> Tensor:
        """The first quarter of ``weights`` copied over the others and deformed."""
        first = weights.reshape(_GROUPS, -1)[0].expand(_GROUPS, -1).reshape(weights.shape)
        return self._deformed(first, reverse=False).reshape(weights.shape)

    def _deformed(self, weights: Tensor, *, reverse: bool) -> Tensor:
        size = weights.shape[-1]
        matrices = _matrices(self.kind, self.angle, size, reverse).to(weights)
        return weights.reshape(len(matrices), -1, size * size) @ matrices.transpose(1, 2)


def deformation(options: object, angle: float, size: int, kernels: int) -> Deformation | None:
    """What ``options`` ask for, for that many kernels of ``size``. Raises ValueError where it cannot be."""
    chosen = [kind for kind in _KINDS if getattr(options, kind)]
    if len(chosen) > 1:
        raise ValueError(f"{', '.join(_KINDS[:-1])} and {_KINDS[-1]} exclude each other")
    for kind in chosen:
        if size < _LEAST:
            raise ValueError(f"{kind} needs a size of {_LEAST} or more, got {size}")
        return Deformation(kind, int(angle), kernels)
    return None


@functools.lru_cache
def _matrices(kind: str, angle: int, size: int, reverse: bool) -> Tensor:
    """[stages, places, places]: what becomes of a kernel (``sway_and_flip_weights_kernel`` and its kin)."""
    plain = torch.eye(size * size, dtype=torch.float64)
    if kind == "rotate":
        turns = (
            plain.view(-1, size, size).rot90(-quarter, (1, 2)).reshape(size * size, -1).t() for quarter in range(4)
        )
        return torch.stack([turn.t() if reverse else turn for turn in turns])
    stages = [plain]
    for scale in _STRETCHES.get(kind, ()):
        scale = 1 / scale if reverse else scale
        stretched = _resampled(size, lambda x, y, s=scale: (x / s, y / s))[0]  # type: ignore[misc]
        stages.append(stretched / scale if kind == "stretch" or scale > 1 else stretched)
    if kind != "stretch":
        for sign in (1, -1):
            turn = math.radians(-sign * angle if reverse else sign * angle)
            cos, sin = math.cos(turn), math.sin(turn)
            turned, lost = _resampled(size, lambda x, y, c=cos, s=sin: (x * c + y * s, y * c - x * s))  # type: ignore[misc]
            stages.append(turned * size**2 / (size**2 - lost))
        stages.append(plain.view(-1, size, size).flip(2).reshape(size * size, -1))
    return torch.stack(stages)


def _resampled(size: int, source: Callable[[int, int], tuple[float, float]]) -> tuple[Tensor, float]:
    """Bilinear: where each place takes its value from, and how much of that lies outside.

    ``source``: from the middle, of a place given from the middle.
    """
    matrix, lost, middle = torch.zeros(size * size, size * size, dtype=torch.float64), 0.0, size // 2
    for y in range(size):
        for x in range(size):
            across, down = (middle + part for part in source(x - middle, y - middle))
            left, top = math.floor(across), math.floor(down)
            for column, share in ((left, left + 1 - across), (left + 1, across - left)):
                for row, part in ((top, top + 1 - down), (top + 1, down - top)):
                    if 0 <= column < size and 0 <= row < size:
                        matrix[y * size + x, row * size + column] += share * part
                    else:
                        lost += share * part
    return matrix, lost
