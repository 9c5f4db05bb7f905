"""Small networks and layers with random weights that keep activations near 1, and the files to load them from."""

from __future__ import annotations

import math
import os
import pathlib
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from darknet_py import cfg
from darknet_py.cfg import Config, Dialect, Entry, Section, schema
from darknet_py.layers import LAYERS, Layer, Shape
from darknet_py.network import Network

HEADER = struct.pack("<iiiQ", 0, 2, 5, 6400)  # of a .weights file: 0.2.5, 6400 images seen

# A small network whose arrays have different lengths, so that a value's position in a file identifies its array.
TEXT = """
[net]
width=4
height=4
channels=1
[conv]
filters=2
size=3
pad=1
batch_normalize=1
[maxpool]
size=2
stride=2
[conv]
filters=3
activation=linear
[connected]
output=2
batch_normalize=1
"""
FLOATS = (2 + 6 + 18) + (3 + 6) + (2 + 24 + 6)

M = TypeVar("M", bound=nn.Module)


def network(text: str, *, path: str = "made.cfg", **options: Any) -> Network:
    """Build the network of a cfg's text with random weights."""
    return randomise(Network(cfg.loads(text, path, allow_paths=True), **options))


def options_of(
    name: str, keys: Mapping[str, str], dialect: Dialect = Dialect.ALEXEYAB, path: str | os.PathLike[str] = "made.cfg"
) -> Layer.Options:
    """Read the options of a section from text, as a cfg gives them; text without effect is an error."""
    entries = tuple(Entry(key, value, line) for line, (key, value) in enumerate(keys.items(), start=2))
    section = Section(name, entries, 1)
    config = Config((section,), os.fspath(path), allow_paths=True)
    return schema.read(LAYERS[name].Options, section, config, dialect=dialect, strict=True)


def layer(name: str, keys: Mapping[str, str], *inputs: Shape, dialect: Dialect = Dialect.ALEXEYAB) -> Layer:
    """Build a layer with random weights, in eval mode."""
    return randomise(LAYERS[name](options_of(name, keys, dialect), *inputs)).eval()


def randomise(module: M, seed: int = 0) -> M:
    """Give every parameter and persistent buffer random values, and return the module."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith(("scales", "rolling_variance")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            limit = math.sqrt(3 / max(1, tensor[0].numel())) if tensor.dim() > 1 else 0.5
            tensor.uniform_(-limit, limit, generator=generator)
    return module


def nan_network(text: str, **options: Any) -> Network:
    """Build the network of a cfg's text with NaN everywhere: what is not read from a file stays NaN."""
    net = Network(cfg.loads(text, "made.cfg"), **options)
    for tensor in net.state_dict().values():
        tensor.fill_(math.nan)
    return net


def weights_file(path: pathlib.Path, count: int, header: bytes = HEADER) -> pathlib.Path:
    """Write a .weights file with the floats 0, 1, 2, ...: each value is its position."""
    path.write_bytes(header + np.arange(count, dtype="<f4").tobytes())
    return path


def random(*size: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return uniform random numbers that are the same in every run."""
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(size).uniform_(low, high, generator=generator)


def classifier_batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random images, float [4, 3, 8, 8] in 0..1, and targets, float [4, 5]: another of five classes for each."""
    return random(4, 3, 8, 8, seed=seed, low=0.0), torch.eye(5)[:4]
