"""The section that copies the outputs of other layers one after the other, for C libraries that show one output."""

from __future__ import annotations

from collections.abc import Iterable

from ..cfg import Entry, Section


def concatenation(layers: Iterable[int]) -> Section:
    """Return a section whose output in C is the concatenated floats of ``layers``, whatever their shapes are."""
    return Section("route", (Entry("layers", ",".join(map(str, layers))),))
