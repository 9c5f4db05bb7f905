"""``concatenation``: a section that concatenates the outputs of other layers, for C libraries that expose only one."""

from __future__ import annotations

from collections.abc import Iterable

from ..cfg import Entry, Section


def concatenation(layers: Iterable[int]) -> Section:
    """Return a section whose output in C is the concatenation of the flattened outputs of ``layers``."""
    return Section("route", (Entry("layers", ",".join(map(str, layers))),))
