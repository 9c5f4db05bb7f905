"""Networks that tests make up: from cfg text, with random weights that keep values near 1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import sqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from darknet_py import cfg, schema
from darknet_py.cfg import Config, Dialect, Entry, Section
from darknet_py.layers import LAYERS, Layer, Shape
from darknet_py.network import Network

M = TypeVar("M", bound=nn.Module)


def network(text: str, *, path: str = "made.cfg", **options: Any) -> Network:
    """The network of a cfg's text, filled."""
    return filled(Network(cfg.loads(text, path), **options))


def options_of(
    name: str, keys: Mapping[str, str], dialect: Dialect = Dialect.ALEXEYAB, path: str | os.PathLike[str] = "made.cfg"
) -> Layer.Options:
    """The options of a section, read from text as a cfg gives them; text without effect is an error."""
    section = Section(name, tuple(Entry(key, value, line) for line, (key, value) in enumerate(keys.items(), start=2)), 1)
    config = Config((section,), os.fspath(path))
    return schema.read(LAYERS[name].Options, section, config, dialect=dialect, strict=True)


def layer(name: str, keys: Mapping[str, str], *inputs: Shape, dialect: Dialect = Dialect.ALEXEYAB) -> Layer:
    """A layer by itself, filled and in eval mode."""
    return filled(LAYERS[name](options_of(name, keys, dialect), *inputs)).eval()


def filled(module: M, seed: int = 0) -> M:
    """Give every parameter and persistent buffer random values, and return the module."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith(("scales", "rolling_variance")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            limit = sqrt(3 / max(1, tensor[0].numel())) if tensor.dim() > 1 else 0.5
            tensor.uniform_(-limit, limit, generator=generator)
    return module


def random(*size: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Random numbers that are the same in every run."""
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(size).uniform_(low, high, generator=generator)
