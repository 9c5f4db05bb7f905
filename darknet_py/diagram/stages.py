"""Group the blocks of a network into stages of one resolution, and place them in rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..layers import Shape
from ..network import INPUT, Network
from .blocks import Block, fold, sequence_text


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution, each of which reads the one before.

    Attributes:
        first: number of the first layer.
        last: number of the last layer.
        shape: shape of the output.
        lines: what it computes.
        sources: numbers of the stages that it reads; -1 is the image.
        is_output: whether its last layer is an output of the network.
        row: 0 for the largest resolution.
        column: 0 for the backbone; of the stages of a row, each reads those to its left only.
    """

    first: int
    last: int
    shape: Shape
    lines: tuple[str, ...]
    sources: tuple[int, ...]
    is_output: bool
    row: int
    column: int


def find_stages(network: Network) -> list[Stage]:
    """Return the stages of the network in the order of its layers."""
    blocks = fold(network)
    identities = {block.last: block.sources[0] for block in blocks if not block.text}
    groups = list(_group(network, blocks, identities))
    owner = {block.last: number for number, group in enumerate(groups) for block in group}
    areas = {network[group[-1].last].shape.height * network[group[-1].last].shape.width for group in groups}
    rows = {area: row for row, area in enumerate(sorted(areas, reverse=True))}
    stages: list[Stage] = []
    occupied: set[tuple[int, int]] = set()
    for number, group in enumerate(groups):
        inside = {block.last for block in group}
        read = [_resolve(source, identities) for block in group for source in block.sources if source not in inside]
        sources = tuple(dict.fromkeys(owner.get(source, INPUT) for source in read))
        shape = network[group[-1].last].shape
        row = rows[shape.height * shape.width]
        column = max(
            (stages[s].column + (stages[s].row == row) for s in sources if s not in (INPUT, number)), default=0
        )
        while (row, column) in occupied:
            column += 1
        occupied.add((row, column))
        stages.append(
            Stage(
                first=group[0].first,
                last=group[-1].last,
                shape=shape,
                lines=tuple(sequence_text(group)),
                sources=tuple(source for source in sources if source != number),
                is_output=group[-1].last in network.outputs,
                row=row,
                column=column,
            )
        )
    return stages


def _group(network: Network, blocks: Sequence[Block], identities: dict[int, int]) -> Iterator[list[Block]]:
    """Yield the blocks of each stage."""
    readers: dict[int, list[int]] = {}
    for block in blocks:
        for source in block.sources:
            readers.setdefault(_resolve(source, identities), []).append(block.first)
    group: list[Block] = []
    for block in blocks:
        if block.last in identities:
            continue
        if group and _starts_stage(network, group[-1], block, readers.get(group[-1].last, []), identities):
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _starts_stage(
    network: Network, before: Block, block: Block, readers: Sequence[int], identities: dict[int, int]
) -> bool:
    size = network[before.last].shape[1:]
    if network[block.last].shape[1:] != size or before.last in network.outputs:
        return True
    if before.last not in [_resolve(source, identities) for source in block.sources]:
        return True
    # Where the output is read from afar, the arrow leaves the end of a stage.
    return any(
        network[reader].shape[1:] != size or any(before.last < output < reader for output in network.outputs)
        for reader in readers
        if reader != block.first
    )


def _resolve(source: int, identities: dict[int, int]) -> int:
    """Return the layer whose output ``source`` passes on."""
    while source in identities:
        source = identities[source]
    return source
