"""Backgrounds for made images: two colours, mixed by a pattern, with some grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float64]


def texture(rng: np.random.Generator, side: int) -> Image:
    """An image [side, side, 3] of values 0..1: a gradient, stripes, checks or blobs, drawn from ``rng``."""
    y, x = np.mgrid[0:side, 0:side] / side
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 8)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    phase = rng.uniform(0, 2 * np.pi)
    stripes = np.sin(2 * np.pi * waves * along + phase)
    match rng.integers(4):
        case 0:
            field = along
        case 1:
            field = stripes
        case 2:
            field = stripes * np.sin(2 * np.pi * waves * across)
        case _:
            field = _blobs(rng, side)
    field = (field - field.min()) / max(float(np.ptp(field)), 1e-9)
    first, second = rng.uniform(0.4, 1, (2, 3))
    grain = rng.normal(0, rng.uniform(0, 0.04), (side, side, 3))
    mixed: Image = np.clip(first + (second - first) * field[..., None] + grain, 0, 1)
    return mixed


def _blobs(rng: np.random.Generator, side: int) -> Image:
    """Random values on a coarse grid, smooth between them."""
    cells = int(rng.integers(3, 9))
    at = np.linspace(0, cells, side, endpoint=False)
    whole = at.astype(np.intp)
    share = at - whole
    share = share * share * (3 - 2 * share)
    weights = np.zeros((side, cells + 2))
    weights[np.arange(side), whole], weights[np.arange(side), whole + 1] = 1 - share, share
    blobs: Image = weights @ rng.uniform(0, 1, (cells + 2, cells + 2)) @ weights.T
    return blobs
