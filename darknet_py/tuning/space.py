"""``Space``: the values that a search tries for a cfg, and the cfg with one set of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PRECISION = 6  # significant digits of a value in a cfg

Value = float | int | str


@dataclass(frozen=True)
class Parameter:
    """A value to search.

    Attributes:
        name: "net.momentum", or "yolo.0.jitter" for one of several sections.
        places: Index of the section (0 is [net]) and key of each line that has the value.
        start: The cfg's own value.
        low: Smallest value of a range.
        high: Largest value of a range.
        log: Whether the range is sampled by its logarithm.
        choices: Texts of the values; empty for a range.
    """

    name: str
    places: tuple[tuple[int, str], ...]
    start: Value
    low: float | int = 0
    high: float | int = 0
    log: bool = False
    choices: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The range or the choices, as in a file."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Space:
    """The values that a search tries for a cfg.

    Attributes:
        parameters: What is searched.
        fixed: Texts of the values that all trials have, by index of the section (0 is [net]) and key.
        notes: A sentence for each range and choice that was extended to the cfg's own value.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[int, Mapping[str, str]]
    notes: tuple[str, ...] = ()

    @property
    def start(self) -> dict[str, Value]:
        """The cfg's own values, by name of the parameter."""
        return {parameter.name: parameter.start for parameter in self.parameters}

    def edits(self, values: Mapping[str, Value]) -> dict[int, dict[str, str]]:
        """What changes in the cfg for these values of the parameters, for ``cfg.editing.replace_values``.

        Lines whose value is the cfg's own are not changed.
        """
        edits = {index: dict(texts) for index, texts in self.fixed.items()}
        for parameter in self.parameters:
            value = values[parameter.name]
            if value != parameter.start:
                for index, key in parameter.places:
                    edits.setdefault(index, {})[key] = value_text(value)
        return edits


def value_text(value: Value | bool | enum.Enum | tuple[Any, ...]) -> str:
    """A value as a cfg has it."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.{_PRECISION}g}"
    if isinstance(value, tuple):
        return ",".join(map(value_text, value))
    return str(value)
