"""Networks whose removed channels are silent, and how far their outputs are from those of the pruned network."""

from __future__ import annotations

import copy
import pathlib
from typing import Any

import torch

from darknet_py import loading, weights
from darknet_py.network import Network
from darknet_py.pruning.pruner import Pruned
from darknet_py.pruning.selection import trace_channels


@torch.no_grad()
def silence(pruned: Pruned, network: Network, *, biases: bool = True) -> Network:
    """Return a copy whose removed channels have scales (without batch norm: weights) and biases of 0."""
    silent = copy.deepcopy(network)
    groups = trace_channels(silent, pruned.score).groups
    for filters in groups.filters:
        rows = pruned.selection.removed[filters.channels]
        filters.gain[rows] = 0
        layer: Any = silent[filters.layer]
        layer = getattr(layer, "convolution", layer)
        if biases:
            (*getattr(layer, "owner", ()), layer)[0].biases[rows] = 0
    return silent


def difference(a: Network, b: Network, seed: int = 1) -> float:
    """Return the largest RMS difference of an output on noise, relative to the RMS of a's output."""
    for network in (a, b):
        network.reset()  # recurrent layers keep a state
    x = torch.rand(2, *a.shape, generator=torch.Generator().manual_seed(seed))
    pairs = zip(a.predict(x), b.predict(x), strict=True)
    return max(float((p - q).square().mean().sqrt() / p.square().mean().sqrt()) for p, q in pairs)


def through_files(pruned: Pruned, folder: pathlib.Path) -> Network:
    """Write the pair, load it, and check that it has the size that is expected and is written again as it was."""
    cfg, path = pruned.save(folder)
    loaded = loading.load(cfg, path, size=(pruned.network.shape.width, pruned.network.shape.height))
    again = folder / "again.weights"
    assert weights.save(loaded, again) == path.stat().st_size
    assert again.read_bytes() == path.read_bytes()
    return loaded


def part(network: Network, index: int) -> Any:
    """Return a layer of which the caller knows the attributes."""
    return network[index]
