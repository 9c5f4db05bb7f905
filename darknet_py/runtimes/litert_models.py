"""LiteRT (TensorFlow Lite) models: .tflite files, run by ai-edge-litert.

The metadata are the JSON file ``metadata.json`` in a ZIP archive behind the model, the place of TFLite's associated
files. Images are [batch, height, width, channels] in files whose metadata have ``LAYOUT``; ``LiteRTModel`` takes them
[batch, channels, height, width], as all other runtimes do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec

METADATA = "metadata.json"  # in the archive behind the model
LAYOUT = {"layout": "NHWC"}


def is_litert_installed() -> bool:
    """Whether LiteRT's interpreter can be imported."""
    return importlib.util.find_spec("ai_edge_litert") is not None


class LiteRTModel(RuntimeModel):
    """A .tflite file in LiteRT's interpreter, on the CPU.

    Args:
        path: The file.
        threads: CPU threads; 0: LiteRT's default.

    Raises:
        DarknetError: ai-edge-litert is not installed, or cannot load the file.
    """

    runtime = "LiteRT"

    def __init__(self, path: StrPath, *, threads: int = 0) -> None:
        self.path = os.fspath(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise DarknetError(
                f"{self.path}: needs the package ai-edge-litert: pip install 'darknet-torch[tflite]'"
            ) from error
        self.metadata = read_metadata(self.path)
        try:
            self._interpreter = Interpreter(self.path, num_threads=threads or None)
            self._interpreter.allocate_tensors()
            signatures = self._interpreter.get_signature_list()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            names: dict[int, str] = {}
            if len(signatures) == 1:
                runner = self._interpreter.get_signature_runner(*signatures)
                for details in (runner.get_input_details(), runner.get_output_details()):
                    names |= {int(tensor["index"]): str(name) for name, tensor in details.items()}
        except (ValueError, RuntimeError, TypeError) as error:
            raise DarknetError(f"{self.path}: LiteRT cannot load it ({_one_line(error)})") from error
        self._channels_last = LAYOUT.items() <= self.metadata.items()
        self.inputs = tuple(
            TensorSpec(names.get(d["index"], d["name"]), self._shape(d["shape_signature"]), np.dtype(d["dtype"]).name)
            for d in inputs
        )
        self._input_indices = [int(details["index"]) for details in inputs]
        indices = {names.get(details["index"], details["name"]): int(details["index"]) for details in outputs}
        described = self._described_outputs()
        self.outputs = described if set(described) == set(indices) else tuple(indices)
        self._output_indices = [indices[name] for name in self.outputs]
        self._lock = threading.Lock()  # an interpreter runs one call at a time

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs."""
        with self._lock:
            try:
                for index, array in zip(self._input_indices, arrays, strict=True):
                    is_moved = self._channels_last and array.ndim == 4
                    moved = array.transpose(0, 2, 3, 1) if is_moved else array
                    self._interpreter.set_tensor(index, np.ascontiguousarray(moved))
                self._interpreter.invoke()
                return [self._interpreter.get_tensor(index) for index in self._output_indices]
            except (ValueError, RuntimeError) as error:
                raise DarknetError(f"{self.path}: LiteRT: {_one_line(error)}") from error

    def _shape(self, lengths: Sequence[int]) -> tuple[int | str, ...]:
        """Shape as ``run`` takes it; -1 is a dynamic length."""
        shape = tuple(int(length) if length >= 0 else f"d{index}" for index, length in enumerate(lengths))
        return (shape[0], shape[3], shape[1], shape[2]) if self._channels_last and len(shape) == 4 else shape

    def _described_outputs(self) -> tuple[str, ...]:
        """The outputs' names in the order that the metadata have, which the file need not keep."""
        try:
            return tuple(map(str, json.loads(self.metadata.get("outputs", "[]"))))
        except (ValueError, TypeError, RecursionError) as error:
            raise DarknetError(f"{self.path}: invalid metadata: expected names of outputs ({error!r:.200})") from error


def read_metadata(path: str) -> dict[str, str]:
    """The entries of ``METADATA``; none where there is no archive behind the model."""
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            if METADATA not in archive.namelist():
                return {}
            entries = json.loads(archive.read(METADATA))
        return {str(key): str(value) for key, value in entries.items()}
    except (OSError, ValueError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        raise DarknetError(f"{path}: invalid metadata: expected a JSON object ({error!r:.200})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
