"""``prune``: remove the channels and residual units of a network that matter least (network slimming)."""

from __future__ import annotations

import copy
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .. import cfg as cfg_
from .. import weights
from .._typing import StrPath
from ..cfg import Config
from ..cfg.editing import replace_values
from ..errors import ConfigError, UnusedOptionWarning
from ..files import atomic_write, create_folder
from ..layers import Score, is_window
from ..network import Network, unwrap
from .constants import carry_constants
from .residual_units import ResidualUnit, remove_units, select_units
from .selection import ChannelSelection, select_channels, trace_channels

_MIN_CHANNELS = 8


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned network.

    Attributes:
        network: the smaller network, on the device of the original; ``network.config.text`` is its cfg.
        original: the network that it was made from, unchanged.
        score: how channels were ranked.
        selection: the channels that are removed.
        units: the residual units that are removed, by number of the layers in the original.
        origins: for each layer, its number in the original.
    """

    network: Network
    original: Network
    score: Score
    selection: ChannelSelection
    units: tuple[ResidualUnit, ...]
    origins: tuple[int, ...]

    def save(self, folder: StrPath, name: str = "") -> tuple[pathlib.Path, pathlib.Path]:
        """Write the cfg and the .weights file, which Darknet reads too.

        Args:
            folder: where to; it is created if absent.
            name: stem of both files; "": that of the original cfg with ``-pruned``.

        Returns:
            The paths of the cfg and of the weights.

        Raises:
            DataError: a file cannot be written.
        """
        place = create_folder(folder)
        stem = name or f"{pathlib.PurePath(self.original.config.path).stem}-pruned"
        files = place / f"{stem}.cfg", place / f"{stem}.weights"
        weights.save(self.network, files[1])
        with atomic_write(files[0], "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(self.network.config.text)
        return files


def prune(
    network: nn.Module,
    ratio: float = 0.0,
    *,
    min_channels: int = _MIN_CHANNELS,
    score: Score | str = Score.BN,
    layers: int = 0,
) -> Pruned:
    """Remove channels and residual units of a network (https://arxiv.org/abs/1708.06519).

    Channels that other layers tie together are removed together, and rank by the highest of their scores. What a
    removed channel outputs with a scale of 0, a constant, is carried into the layers that read it. That is exact where
    they have no zero padding; otherwise cells near the border differ. A constant that is multiplied by a gate
    (squeeze-and-excitation) is none; its value for a black image is carried. Of a removed unit nothing is carried.

    Args:
        network: the network, with the weights that it was trained to; it is not changed.
        ratio: share of the channels that may go to remove, 0 or more and below 1.
        min_channels: channels that every layer keeps at least, if it has so many.
        score: ``"bn"`` ranks channels by the absolute values of their scales in batch norm, which training with
            ``sparsity`` makes small; ``"l1"`` by the norm of their weights.
        layers: number of residual units to remove as a whole, those with the lowest mean scores; the channels are
            removed from what is left.

    Returns:
        The smaller network.

    Raises:
        ConfigError: an argument is out of range, the network has no batch norm for ``"bn"``, fewer residual units than
            ``layers``, or no channel that may go.
    """
    network = unwrap(network)
    kind = _parse_score(score)
    if not 0 <= ratio < 1:
        raise ConfigError(f"ratio: expected 0 or more and below 1, got {ratio:g}")
    if min_channels < 1:
        raise ConfigError(f"min_channels: expected 1 or more, got {min_channels}")
    if layers < 0:
        raise ConfigError(f"layers: expected 0 or more, got {layers}")
    if not ratio and not layers:
        raise ConfigError("nothing to remove: expected a ratio above 0, or a number of layers")
    _require_scores(network, kind)
    work = copy.deepcopy(network)
    units: list[ResidualUnit] = []
    origins = list(range(len(network.layers)))
    if layers:
        units = select_units(network, layers, kind)
        text, origins = remove_units(network, units, _with_text(network.config))
        work = _rebuild(network, text)
        _copy_parameters(network, work, origins)
    trace = trace_channels(work, kind)
    selection = select_channels(trace.groups, ratio, min_channels)
    if ratio and not len(selection.scores):
        raise ConfigError(f"{network.config.path}: no channel can be removed: all are tied to others that must stay")
    carry_constants(work, trace, selection)
    kept = {
        tensor: {dim: ~selection.removed[channels] for dim, channels in axes.items()}
        for tensor, axes in trace.groups.axes.items()
    }
    edits: dict[int, dict[str, str]] = {}
    for (index, key), channels in trace.groups.keys.items():
        count = int((~selection.removed[channels]).sum())
        if count < len(channels):
            edits.setdefault(1 + index, {})[key] = str(count)
    smaller = _rebuild(work, replace_values(_with_text(work.config), edits))
    _copy_parameters(work, smaller, range(len(origins)), kept)
    return Pruned(smaller, network, kind, selection, tuple(units), tuple(origins))


def _parse_score(score: Score | str) -> Score:
    try:
        return Score(score)
    except ValueError:
        raise ConfigError(f"score: expected one of {', '.join(Score)}, got {score!r}") from None


def _require_scores(network: Network, score: Score) -> None:
    if score is Score.BN and not any(name.endswith(".scales") for name, _ in network.named_parameters()):
        raise ConfigError(
            f"{network.config.path}: no batch norm, whose scales would rank the channels; "
            "score l1 ranks them by their weights"
        )


def _with_text(config: Config) -> Config:
    """The cfg with the lines that its text has; it is written if there is none."""
    return cfg_.loads(config.text or cfg_.dumps(config), config.path)


def _rebuild(network: Network, text: str) -> Network:
    """Build the network of an edited cfg, with the size, device and header of ``network``."""
    given = network.config
    config = replace(cfg_.loads(text, given.path), files=given.files, overrides=given.overrides)
    config = replace(config, allow_paths=given.allow_paths)
    size = (network.shape.width, network.shape.height) if network.options.width and network.options.height else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedOptionWarning)  # reported for the original
        smaller = Network(config, size=size, dialect=network.dialect)
    smaller.version, smaller.seen, smaller.names = network.version, network.seen, network.names
    return smaller.to(next(network.parameters()).device)


@torch.no_grad()
def _copy_parameters(
    source: Network, target: Network, origins: Sequence[int], kept: Mapping[int, Mapping[int, Tensor]] | None = None
) -> None:
    """Fill a network from a larger one.

    Args:
        source: the larger network.
        target: the network to fill.
        origins: for each of its layers, the number of the layer of ``source``.
        kept: by ``id`` of the tensors of ``source`` and dimension, which values stay, bool; None: all.
    """
    for layer, origin in zip(target, origins, strict=True):
        values = dict(_tensors(source[origin]))
        for name, tensor in _tensors(layer):
            value = values[name]
            for dim, mask in (kept or {}).get(id(values[name]), {}).items():
                value = value.index_select(dim, mask.nonzero()[:, 0].to(value.device))
            tensor.copy_(value)


def _tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from layer.named_parameters()
    yield from ((name, buffer) for name, buffer in layer.named_buffers() if not is_window(name))
