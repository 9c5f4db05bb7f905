"""The convolutions of an exported graph: which layer each computes, and what lies before them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

_Node = TypeVar("_Node", bound=Hashable)
# What the exporter calls the weights of layer 29 of the network inside ``TraceableNetwork``.
_WEIGHTS = re.compile(r"network\.layers\.(\d+)\.weights")


def layer_of(weights: str) -> int | None:
    """Return the number of the layer whose weights a constant of the graph holds; None for any other constant."""
    match = _WEIGHTS.fullmatch(weights)
    return int(match[1]) if match else None


def before(ends: Iterable[_Node], sources: Mapping[_Node, Iterable[_Node]]) -> set[_Node]:
    """Return the nodes that some of ``ends`` depend on, without themselves unless another of them depends on them.

    Args:
        ends: Nodes.
        sources: The nodes that each reads.
    """
    found: set[_Node] = set()
    waiting = [source for end in ends for source in sources.get(end, ())]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(sources.get(node, ()))
    return found
