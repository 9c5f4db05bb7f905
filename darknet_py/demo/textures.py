"""Procedural backgrounds for synthetic images: two colours, mixed by a pattern, with grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float64]


def render_texture(rng: np.random.Generator, side: int) -> Pixels:
    """Render a random gradient, stripes, checks or blobs: float64 [side, side, 3], RGB, 0..1."""
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, np.pi)
    waves = rng.uniform(1, 8)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    phase = rng.uniform(0, 2 * np.pi)
    stripes = np.sin(2 * np.pi * waves * along + phase)
    match rng.integers(4):
        case 0:
            pattern = along
        case 1:
            pattern = stripes
        case 2:
            pattern = stripes * np.sin(2 * np.pi * waves * across)
        case _:
            pattern = _render_blobs(rng, side)
    pattern = (pattern - pattern.min()) / max(float(np.ptp(pattern)), 1e-9)
    first, second = rng.uniform(0.4, 1, (2, 3))
    grain = rng.normal(0, rng.uniform(0, 0.04), (side, side, 3))
    texture: Pixels = np.clip(first + (second - first) * pattern[..., None] + grain, 0, 1)
    return texture


def _render_blobs(rng: np.random.Generator, side: int) -> Pixels:
    """Smoothly interpolated random values of a coarse grid."""
    cells = int(rng.integers(3, 9))
    position = np.linspace(0, cells, side, endpoint=False)
    cell = position.astype(np.intp)
    weight = position - cell
    weight = weight * weight * (3 - 2 * weight)  # smoothstep
    weights = np.zeros((side, cells + 2))
    weights[np.arange(side), cell], weights[np.arange(side), cell + 1] = 1 - weight, weight
    blobs: Pixels = weights @ rng.uniform(0, 1, (cells + 2, cells + 2)) @ weights.T
    return blobs
