"""``Quantizer``: a float file of ``export``, from which int8 models with any layers in float are made."""

from __future__ import annotations

import pathlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from .convolutions import before


class Quantizer(ABC):
    """A float file of ``export``, calibrated with images.

    Only convolutions whose output another one reads are quantised: the last ones, and what decodes their outputs, stay
    in float.

    Attributes:
        rounds_outputs: Whether a layer's output is rounded to int8, and not only its input.
        name: Package that quantises, with its version.
        layers: Numbers of the layers that can be quantised.
        last: Numbers of the layers that are kept in float because no other convolution reads their output.
    """

    rounds_outputs: ClassVar[bool]
    name: str
    layers: tuple[int, ...]
    last: tuple[int, ...]

    @abstractmethod
    def quantise(self, in_float: Collection[int]) -> Any:
        """Return the quantised model in memory.

        Args:
            in_float: Numbers of the layers to keep in float, besides ``last``.
        """

    @abstractmethod
    def save(self, model: Any, path: pathlib.Path, entries: Mapping[str, str]) -> None:
        """Write a quantised model, with ``entries`` added to the metadata of the float file."""

    def _set_layers(self, numbers: Mapping[str, int | None], sources: Mapping[str, Iterable[str]]) -> set[str]:
        """Set ``layers``, ``last`` and the nodes of each layer; return the nodes that a convolution depends on.

        Args:
            numbers: The layer of each convolution, by its name in the graph; None: unknown, stays in float.
            sources: The nodes that each node reads, by name.
        """
        inner = before(numbers, sources)
        self._nodes: dict[int, list[str]] = {}
        for name, number in numbers.items():
            if number is not None and name in inner:
                self._nodes.setdefault(number, []).append(name)
        self.layers = tuple(sorted(self._nodes))
        outer = {number for name, number in numbers.items() if number is not None and name not in inner}
        self.last = tuple(sorted(outer - {*self.layers}))
        return inner

    def _names_without(self, in_float: Collection[int]) -> set[str]:
        """Return the convolutions to quantise, by their names in the graph."""
        return {name for number, names in self._nodes.items() if number not in in_float for name in names}
