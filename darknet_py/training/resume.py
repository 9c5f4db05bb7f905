"""What a training starts from: a network with its first weights, or the state of an earlier part of it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence

import torch

from .. import cfg as cfg_
from .. import weights
from .._typing import StrPath
from ..cfg import Dialect
from ..cfg.editing import replace_values
from ..errors import ConfigError, WeightsError
from ..network import Network
from ..weights import checkpoint
from ..weights.containers import is_container
from .checkpoints import beside


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """``key=value`` texts as a dict. Raises ConfigError for another text."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ConfigError(f"expected KEY=VALUE of [net], such as max_batches=6000, got {pair!r}")
        found[key.strip()] = value.strip()
    return found


def build(
    cfg: StrPath,
    *,
    values: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str = Dialect.ALEXEYAB,
    strict: bool = False,
    seed: int = 0,
) -> Network:
    """The network of a cfg with Darknet's random starting values, which ``seed`` decides.

    ``values``: keys of [net] with others than the cfg's; they become part of its text. Raises ConfigError.
    """
    config = cfg_.load(cfg)
    if values:
        config = cfg_.loads(replace_values(config, {0: values}), config.path)
    network = Network(config, size=size, dialect=dialect, strict=strict)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return network.initialise()


def fill(network: Network, path: StrPath, upto: int | None = None) -> str:
    """Load the weights that a training starts from and say what they are.

    A .weights file or a checkpoint, of the whole network or of its first layers (a backbone such as
    yolov4-tiny.conv.29): how many is seen from the file. ``upto``: of a whole one, too, the first so many alone.
    What is not filled keeps its values; then no image has been seen. Raises WeightsError.
    """
    name, layers = os.fspath(path), len(network.layers)
    if is_container(path):
        held = checkpoint.load(path)
        count = held.layers if upto is None else upto
        checkpoint.fill(network, held, path, upto=count)
    else:
        count = weights.fits_upto(network, path) if upto is None else upto
        weights.load(network, path, upto=None if count == layers else count)
    if count < layers:
        network.seen = 0
        return f"{name}: the first {count} of {layers} layers (a backbone); the others start with random values"
    return f"{name}: all {layers} layers, {network.seen:,} images seen"


def state_of(path: StrPath) -> pathlib.Path | None:
    """The state beside weights: there where a training has left both."""
    found = beside(path)
    return found if found.is_file() and pathlib.Path(path).stem.endswith("_last") else None


def left(network: Network, path: StrPath) -> None:
    """Raises WeightsError where weights have seen as many images as the training has."""
    options = network.options
    iteration = network.seen // max(1, options.batch)
    if options.max_batches and iteration >= options.max_batches:
        raise WeightsError(
            f"{os.fspath(path)}: has seen {network.seen:,} images, which is iteration {iteration} of "
            f"max_batches={options.max_batches}: nothing is left to train. Count from 0 with --clear, or raise "
            "max_batches"
        )
