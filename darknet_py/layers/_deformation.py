"""Filters tied to rotated, scaled or flipped copies of others: sway, rotate, stretch, stretch_sway.

The kernels of a convolution, one for each filter and channel, are divided into consecutive stages. Only the first
quarter of the kernels is learned freely. In each update C's CUDA code applies the inverse deformation of every stage
to its velocity and averages the stages; after the update it copies the first quarter over the others and deforms each
stage. All of that is linear, so a stage is a matrix over the elements of a kernel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_GROUPS = 4  # of kernels that are averaged and copied, for any number of stages
_MIN_SIZE = 2  # of a kernel
_KINDS = ("sway", "rotate", "stretch", "stretch_sway")
_STRETCHES = {"stretch": (0.65, 0.8, 1.3), "stretch_sway": (0.65, 0.8, 1.2, 1.4)}


@dataclass(frozen=True)
class Deformation:
    """How the filters of a convolution are tied.

    Attributes:
        kind: the key's name.
        angle: rotation of sway and stretch_sway in whole degrees.
        kernels: number of kernels, filters * channels / groups.
    """

    kind: str
    angle: int
    kernels: int = 0

    @property
    def problem(self) -> str:
        """Why the kernels cannot be divided into stages; empty if they can."""
        stages = len(_matrices(self.kind, self.angle, 1, False))
        if self.kernels % stages == 0:
            return ""
        return f"{self.kind}: expected filters * channels / groups to be a multiple of {stages}, got {self.kernels}"

    def average(self, velocity: Tensor) -> Tensor:
        """Undo each stage's deformation and average the groups (``reduce_and_expand_array``).

        Args:
            velocity: float [filters, channels, size, size].

        Returns:
            The mean of the groups in place of each of them; same shape.
        """
        back = self._deform(velocity, reverse=True).view(_GROUPS, -1)
        return back.mean(dim=0).expand(_GROUPS, -1).reshape(velocity.shape)

    def tie(self, weights: Tensor) -> Tensor:
        """Copy the first quarter of ``weights`` [filters, channels, size, size] over the rest and deform each."""
        first = weights.reshape(_GROUPS, -1)[0].expand(_GROUPS, -1).reshape(weights.shape)
        return self._deform(first, reverse=False).reshape(weights.shape)

    def _deform(self, weights: Tensor, *, reverse: bool) -> Tensor:
        size = weights.shape[-1]
        matrices = _matrices(self.kind, self.angle, size, reverse).to(weights)
        return weights.reshape(len(matrices), -1, size * size) @ matrices.transpose(1, 2)


def read_deformation(options: object, angle: float, size: int, kernels: int) -> Deformation | None:
    """Return the deformation that ``options`` ask for, if any. Raises ValueError if they contradict each other."""
    kinds = [kind for kind in _KINDS if getattr(options, kind)]
    if len(kinds) > 1:
        raise ValueError(f"expected one of {', '.join(_KINDS)}, got {' and '.join(kinds)}")
    for kind in kinds:
        if size < _MIN_SIZE:
            raise ValueError(f"{kind}: expected a size of {_MIN_SIZE} or more, got {size}")
        return Deformation(kind, int(angle), kernels)
    return None


@functools.lru_cache
def _matrices(kind: str, angle: int, size: int, reverse: bool) -> Tensor:
    """Return each stage's matrix, float64 [stages, size^2, size^2] (``sway_and_flip_weights_kernel`` and others)."""
    identity = torch.eye(size * size, dtype=torch.float64)
    if kind == "rotate":
        rotations = (
            identity.view(-1, size, size).rot90(-quarter, (1, 2)).reshape(size * size, -1).t() for quarter in range(4)
        )
        return torch.stack([rotation.t() if reverse else rotation for rotation in rotations])
    stages = [identity]
    for scale in _STRETCHES.get(kind, ()):
        scale = 1 / scale if reverse else scale
        stretched = _resample(size, lambda x, y, s=scale: (x / s, y / s))[0]  # type: ignore[misc]
        stages.append(stretched / scale if kind == "stretch" or scale > 1 else stretched)
    if kind != "stretch":
        for sign in (1, -1):
            angle_rad = math.radians(-sign * angle if reverse else sign * angle)
            cos, sin = math.cos(angle_rad), math.sin(angle_rad)
            rotated, lost = _resample(size, lambda x, y, c=cos, s=sin: (x * c + y * s, y * c - x * s))  # type: ignore[misc]
            stages.append(rotated * size**2 / (size**2 - lost))
        stages.append(identity.view(-1, size, size).flip(2).reshape(size * size, -1))
    return torch.stack(stages)


def _resample(size: int, source: Callable[[int, int], tuple[float, float]]) -> tuple[Tensor, float]:
    """Build the matrix of bilinear resampling of a kernel.

    Args:
        size: side of the kernel.
        source: maps (x, y) of a target element to that of the source, both relative to the centre.

    Returns:
        The matrix, float64 [size^2, size^2], and the sum of the weights that fall outside the kernel.
    """
    matrix = torch.zeros(size * size, size * size, dtype=torch.float64)
    lost = 0.0
    middle = size // 2
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
