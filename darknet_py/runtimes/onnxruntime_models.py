"""ONNX files in ONNX Runtime."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec

_ERRORS_ONLY = 3  # of onnxruntime's severities 0..4
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def is_onnxruntime_installed() -> bool:
    """Whether ONNX Runtime can be imported."""
    return importlib.util.find_spec("onnxruntime") is not None


class OnnxModel(RuntimeModel):
    """An ONNX model as an ``onnxruntime.InferenceSession``.

    Args:
        model: An ONNX file, or the bytes of one.
        providers: Execution providers in order of preference; None: all that are available.
        threads: Threads for one operator; 0: ONNX Runtime's default.

    Raises:
        DarknetError: onnxruntime is not installed, or cannot load the model.
    """

    runtime = "ONNX Runtime"

    def __init__(
        self,
        model: StrPath | bytes,
        *,
        providers: Sequence[str] | None = ("CPUExecutionProvider",),
        threads: int = 0,
    ) -> None:
        self.path = "ONNX model" if isinstance(model, bytes) else os.fspath(model)
        try:
            import onnxruntime
        except ImportError as error:
            raise DarknetError(
                f"{self.path}: needs the package onnxruntime: pip install 'darknet-torch[export]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        # By default its threads go on spinning after a call, on cores that reading and decoding need.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        available = onnxruntime.get_available_providers() if providers is None else list(providers)
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else self.path, options, providers=available
            )
            self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # onnxruntime's exceptions are defined in C++ and have no common base class
            if isinstance(error, UnicodeDecodeError):
                raise DarknetError(f"{self.path}: invalid metadata: expected UTF-8 ({error})") from error
            raise DarknetError(f"{self.path}: ONNX Runtime cannot load it ({_one_line(error)})") from error
        self.inputs = tuple(
            TensorSpec(value.name, tuple(d if isinstance(d, int) else str(d) for d in value.shape), _type(value.type))
            for value in self._session.get_inputs()
        )
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs."""
        names = (spec.name for spec in self.inputs)
        try:
            return list(self._session.run(None, dict(zip(names, arrays, strict=True))))
        except Exception as error:  # as above
            raise DarknetError(f"{self.path}: ONNX Runtime: {_one_line(error)}") from error


def _type(name: str) -> str:
    return _TYPES.get(name, name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
