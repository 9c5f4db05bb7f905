"""``RuntimeModel``: a model file in its runtime, as engines, ``export``, ``compare`` and exported files use it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class TensorSpec(NamedTuple):
    """An input or output of a model.

    Attributes:
        name: Its name in the file.
        shape: Its lengths; a text stands for a dynamic one.
        type: ``float32``, ``float16``, or the runtime's name of another type.
    """

    name: str
    shape: tuple[int | str, ...]
    type: str = "float32"


class RuntimeModel(ABC):
    """A model file, loaded and compiled by its runtime. It may be run from several threads.

    Attributes:
        runtime: Name of the runtime.
        path: The file, for messages.
        inputs: The inputs in the order of ``run``.
        outputs: Names of the outputs in the order of ``run``.
        metadata: Entries that the writer of the file has stored, by key.
    """

    runtime: ClassVar[str]
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str]

    @abstractmethod
    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs, in memory of their own.

        Args:
            arrays: One array for each input, of its type.

        Raises:
            DarknetError: The runtime refuses the arrays.
        """
