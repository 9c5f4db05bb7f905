"""Files of ``torch.export``, run by PyTorch."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec

METADATA = "metadata.json"  # extra file of the archive


class Pt2Model(RuntimeModel):
    """A program of ``torch.export.save`` as a module.

    Args:
        path: The file.

    Raises:
        DarknetError: PyTorch cannot load it.
    """

    runtime = "torch.export"

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        extra = {METADATA: ""}
        if not zipfile.is_zipfile(path):  # torch.export would print a traceback
            raise DarknetError(f"{self.path}: expected a file of torch.export, found no complete ZIP archive")
        try:
            program = torch.export.load(path, extra_files=extra)
            self._module = program.module()
        except Exception as error:  # of the archive, of pickle, of the schema: no common base class
            raise DarknetError(
                f"{self.path}: torch.export cannot load it ({' '.join(str(error).split())[:300]})"
            ) from error
        try:
            self.metadata = {str(key): str(value) for key, value in json.loads(extra[METADATA] or "{}").items()}
            names = list(json.loads(self.metadata.get("outputs", "[]")))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DarknetError(f"{self.path}: invalid metadata: expected a JSON object ({error!r:.200})") from error
        values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        self.inputs = tuple(
            TensorSpec(
                name,
                tuple(d if isinstance(d, int) else str(d) for d in values[name].shape),
                str(values[name].dtype).removeprefix("torch."),
            )
            for name in program.graph_signature.user_inputs
            if isinstance(name, str)
        )
        count = len(program.graph_signature.user_outputs)
        self.outputs = tuple(names if len(names) == count else (f"output_{index}" for index in range(count)))

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs."""
        try:
            with torch.inference_mode():
                outputs = self._module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        except (RuntimeError, AssertionError) as error:  # its guards compare the shapes of inputs by assert
            raise DarknetError(f"{self.path}: torch.export: {' '.join(str(error).split())[:300]}") from error
        return [output.numpy() for output in outputs]
