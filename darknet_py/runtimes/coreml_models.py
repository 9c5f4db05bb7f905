"""Core ML models: .mlpackage folders, run by macOS through coremltools."""

from __future__ import annotations

import os
import platform
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec

_FLOATS = {65568: "float32", 65552: "float16"}  # of Core ML's ArrayFeatureType


class CoreMLModel(RuntimeModel):
    """A Core ML model of arrays, on the processors that macOS chooses.

    Args:
        path: The folder.

    Raises:
        DarknetError: This is not macOS, coremltools is not installed, or Core ML cannot load the model.
    """

    runtime = "Core ML"

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        if platform.system() != "Darwin":
            raise DarknetError(
                f"{self.path}: Core ML runs on macOS only: on {platform.system()} expected another format, as .onnx"
            )
        try:
            import coremltools
        except ImportError as error:
            raise DarknetError(
                f"{self.path}: needs the package coremltools: pip install 'darknet-torch[coreml]'"
            ) from error
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model = coremltools.models.MLModel(self.path)
            description = self._model.get_spec().description
        except Exception as error:  # of the package's folder, of protobuf, of Core ML: no common base class
            raise DarknetError(f"{self.path}: Core ML cannot load it ({' '.join(str(error).split())[:300]})") from error
        self.metadata = {str(key): str(value) for key, value in description.metadata.userDefined.items()}
        self.inputs = tuple(_describe(value) for value in description.input)
        self.outputs = tuple(str(value.name) for value in description.output)
        self._lock = threading.Lock()

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs."""
        inputs = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        with self._lock:
            try:
                outputs = self._model.predict(inputs)
            except Exception as error:  # Core ML's errors arrive as RuntimeError, Exception and NSError's text
                raise DarknetError(f"{self.path}: Core ML: {' '.join(str(error).split())[:300]}") from error
        return [np.array(outputs[name], dtype=np.float32) for name in self.outputs]


def _describe(value: Any) -> TensorSpec:
    array = value.type.multiArrayType
    return TensorSpec(
        str(value.name), tuple(map(int, array.shape)), _FLOATS.get(int(array.dataType), str(array.dataType))
    )
