"""Residual units: which ones a network has, and the cfg without some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..activations import Activation
from ..cfg import Config, Entry, Section, schema
from ..cfg import loads as parse_cfg
from ..cfg.editing import replace_sections, replace_values
from ..errors import ConfigError
from ..layers import Score, resolve_indices
from ..network import INPUT, Network
from .selection import Trace, trace_channels


class ResidualUnit(NamedTuple):
    """Layers that compute f(x + g(x)) of the output x of the layer before them.

    Attributes:
        first: number of the first layer of g.
        last: number of the layer that adds.
        activation: f.
        score: mean score of the channels of g.
    """

    first: int
    last: int
    activation: Activation
    score: float


def find_units(network: Network, trace: Trace) -> list[ResidualUnit]:
    """Return the units of a network whose inner layers are read by nothing else, and whose channels have scores."""
    references = [{*network.sources[index], *_references(network, index)} for index in range(len(network.layers))]
    scores = torch.full((trace.groups.count,), math.nan, device="cpu")
    for filters in trace.groups.filters:
        scores[filters.channels] = filters.scores.float()
    units = []
    for last, sources in enumerate(network.sources):
        if len(sources) != 2 or sources[0] != last - 1 or not INPUT < sources[1] < last - 1:
            continue
        inner = set(range(sources[1] + 1, last))
        is_closed = all(references[index] <= {sources[1], *inner} for index in inner)
        is_read = any(references[index] & inner for index in range(len(references)) if index not in {*inner, last})
        activation = network[last].as_sum(*(network[source].shape for source in sources))
        score = float(scores[trace.outputs[last - 1]].nanmean())
        if is_closed and not is_read and not inner & {*network.outputs} and activation and not math.isnan(score):
            units.append(ResidualUnit(sources[1] + 1, last, activation, score))
    return units


def select_units(network: Network, count: int, score: Score) -> list[ResidualUnit]:
    """Return the ``count`` units with the lowest scores, none inside another, in the order of the network.

    Raises:
        ConfigError: there are fewer.
    """
    chosen: list[ResidualUnit] = []
    for unit in sorted(find_units(network, trace_channels(network, score)), key=lambda unit: unit.score):
        if all(unit.last < other.first or other.last < unit.first for other in chosen):
            chosen.append(unit)
    if len(chosen) < count:
        raise ConfigError(f"{network.config.path}: expected {count} residual units to remove, found {len(chosen)}")
    return sorted(chosen[:count])


def remove_units(network: Network, units: Sequence[ResidualUnit], config: Config) -> tuple[str, list[int]]:
    """Remove units from a cfg.

    A sum that is followed by an activation is replaced by the activation, so that the output of the network does not
    change where g is 0.

    Args:
        network: the network.
        units: units of the network.
        config: its cfg, with text.

    Returns:
        The text of the smaller cfg, and for each of its layers the number that the layer has in ``network``.
    """
    activated = {unit.last: unit.activation for unit in units if unit.activation is not Activation.LINEAR}
    gone = {index for unit in units for index in range(unit.first, unit.last + 1)} - activated.keys()
    left = [index for index in range(len(network.layers)) if index not in gone]
    numbers = {index: number for number, index in enumerate(left)}
    for unit in units:
        numbers.setdefault(unit.last, numbers[unit.first - 1])  # its readers read what the unit has read
    edits: dict[int, dict[str, str]] = {}
    for index in set(left) - activated.keys():
        for key, written in schema.layer_numbers(network[index].options).items():
            absolute = resolve_indices(written, index)
            new = [numbers.get(number, number) for number in absolute]
            shown = [number - numbers[index] if old < 0 else number for number, old in zip(new, written, strict=True)]
            if shown != list(written):
                edits.setdefault(1 + index, {})[key] = ",".join(map(str, shown))
    text = replace_values(config, edits)
    sections: dict[int, Section | None] = dict.fromkeys(1 + index for index in gone)
    for index, activation in activated.items():
        sections[1 + index] = Section("activation", (Entry("activation", str(activation)),))
    return replace_sections(parse_cfg(text, config.path), sections), left


def _references(network: Network, index: int) -> set[int]:
    """The layers that layer ``index`` names."""
    written = schema.layer_numbers(network[index].options)
    return {number for numbers in written.values() for number in resolve_indices(numbers, index)}
