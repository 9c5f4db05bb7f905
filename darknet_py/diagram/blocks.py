"""Fold the layers of a network into blocks: residual units, CSP stages, pooling pyramids, and repetitions of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..layers import Layer, Shape
from ..network import INPUT, Network

_MAX_PERIOD = 12  # blocks in a repeated sequence


@dataclass(frozen=True)
class Block:
    """Consecutive layers that are one block to the layers around them.

    Attributes:
        first: number of the first layer.
        last: number of the last layer, whose output is the block's.
        sources: layers before the block that it reads; -1 is the image.
        text: what it computes, such as ``3x3 64`` or ``residual (1x1 32, 3x3 64)``.
    """

    first: int
    last: int
    sources: tuple[int, ...]
    text: str


def fold(network: Network) -> list[Block]:
    """Return the layers of the network as blocks, in order."""
    readers: list[list[int]] = [[] for _ in network.sources]
    for index, sources in enumerate(network.sources):
        for source in set(sources) - {INPUT}:
            readers[source].append(index)
    blocks: list[Block] = []
    for index, sources in enumerate(network.sources):
        block = Block(index, index, tuple(sources), _describe_layer(network, index))
        if len(sources) > 1:
            start = _find_start(network, index)
            inner = [other for other in blocks if other.first > start]
            if inner and inner[0].first == start + 1 and _is_closed(network, readers, start, index):
                del blocks[-len(inner) :]
                block = Block(start + 1, index, (start,), _describe_join(network, start, index, inner))
        blocks.append(block)
    return blocks


def _find_start(network: Network, end: int) -> int:
    """Return the last layer before ``end`` on which all layers between the two depend, if any does."""
    start = end
    earliest = min(network.sources[end])
    while earliest < start:
        start = earliest
        earliest = min((min(network.sources[index]) for index in range(start + 1, end)), default=start)
    return start


def sequence_text(blocks: Sequence[Block]) -> list[str]:
    """Return the texts of blocks, each run of repetitions as one text with its number."""
    texts = [block.text for block in blocks if block.text]
    lines: list[str] = []
    at = 0
    while at < len(texts):
        repeats, period = max(
            ((_count_repeats(texts, at, period), period) for period in range(1, _MAX_PERIOD + 1)),
            key=lambda pair: (pair[0] > 1, pair[0] * pair[1], -pair[1]),
        )
        if repeats == 1:
            lines.append(texts[at])
            at += 1
            continue
        unit = texts[at : at + period]
        lines.append(f"{repeats} x {unit[0]}" if period == 1 else f"{repeats} x [{', '.join(unit)}]")
        at += repeats * period
    return lines


def _count_repeats(texts: Sequence[str], at: int, period: int) -> int:
    unit = texts[at : at + period]
    if len(unit) < period:
        return 1
    count = 1
    while texts[at + count * period : at + (count + 1) * period] == unit:
        count += 1
    return count


def _is_closed(network: Network, readers: Sequence[Sequence[int]], start: int, end: int) -> bool:
    """Whether the layers after ``start`` up to ``end`` have one size, read nothing before ``start``, and no other layer
    reads one of them but the last."""
    size = network[end].shape[1:]
    if start == INPUT or network[start].shape[1:] != size:
        return False
    inner = range(start + 1, end)
    return all(
        network[index].shape[1:] in (size, (1, 1))
        and min(network.sources[index]) >= start
        and max(readers[index], default=0) <= end
        and index not in network.outputs
        for index in inner
    )


def _describe_layer(network: Network, index: int) -> str:
    layer = network[index]
    section = network.config.sections[1 + index].name
    sources = network.sources[index]
    if len(sources) == 1 and layer.is_identity(layer.shape):
        return ""
    if len(sources) > 1:
        shapes = [network[source].shape for source in sources if source != INPUT]
        joined = "concat" if _concatenates(layer, shapes) else section
        operation = joined if layer.as_sum(*shapes) is None else "add"
        return f"{operation} layers {', '.join(map(str, sorted(sources)))}"
    convolution = layer.as_convolution()
    if convolution is None:
        description = layer.describe()
        return f"{section} {description}".strip()
    height, width = convolution.weights.shape[2:]
    text = f"{height}x{width} {layer.shape.channels}"
    if convolution.stride != (1, 1) or convolution.blur is not None:
        text += f" /{layer.window.stride_y:g}"
    if convolution.groups > 1:
        depthwise = convolution.groups == layer.shape.channels
        text += " depthwise" if depthwise else f" in {convolution.groups} groups"
    return text


def _concatenates(layer: Layer, inputs: Sequence[Shape]) -> bool:
    return layer.shape.channels == sum(shape.channels for shape in inputs)


def _describe_join(network: Network, start: int, index: int, inner: Sequence[Block]) -> str:
    layer = network[index]
    shapes = [network[source].shape for source in network.sources[index]]
    parts = ", ".join(sequence_text(inner))
    if layer.as_sum(*shapes) is not None:
        return f"residual ({parts})"
    if _concatenates(layer, shapes):
        return f"concat ({_describe_branches(network, start, index, inner)})"
    return f"{network.config.sections[1 + index].name} ({parts})"


def _describe_branches(network: Network, start: int, index: int, inner: Sequence[Block]) -> str:
    """Describe what is concatenated: ``a | b`` are computed from the same input, ``a > b`` one from the other."""
    ends = [position for position, block in enumerate(inner) if block.last in network.sources[index]]
    text = "identity" if start in network.sources[index] else ""
    for before, position in itertools.pairwise([-1, *ends]):
        branch = inner[before + 1 : position + 1]
        if text:
            text += " > " if before >= 0 and branch[0].sources == (inner[before].last,) else " | "
        text += ", ".join(sequence_text(branch)) or "identity"
    return text
