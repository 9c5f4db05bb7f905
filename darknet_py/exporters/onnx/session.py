"""ONNX Runtime sessions for the engine, for verification and for ``compare``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from ..._typing import StrPath
from ...errors import DarknetError

_ERRORS_ONLY = 3  # of onnxruntime's severities 0..4


def is_onnxruntime_installed() -> bool:
    """Whether ONNX Runtime can be imported."""
    return importlib.util.find_spec("onnxruntime") is not None


def create_session(
    model: StrPath | bytes, *, providers: Sequence[str] | None = ("CPUExecutionProvider",), threads: int = 0
) -> Any:
    """Return an ``onnxruntime.InferenceSession``.

    Args:
        model: An ONNX file, or the bytes of one.
        providers: Execution providers in order of preference; None: all that are available.
        threads: Threads for one operator; 0: ONNX Runtime's default.

    Raises:
        DarknetError: onnxruntime is not installed, or cannot load the model.
    """
    name = "ONNX model" if isinstance(model, bytes) else os.fspath(model)
    try:
        import onnxruntime
    except ImportError as error:
        raise DarknetError(f"{name}: needs the package onnxruntime: pip install 'darknet-torch[export]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    if providers is None:
        providers = onnxruntime.get_available_providers()
    try:
        source = model if isinstance(model, bytes) else os.fspath(model)
        return onnxruntime.InferenceSession(source, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions are defined in C++ and have no common base class
        raise DarknetError(f"{name}: ONNX Runtime cannot load it ({' '.join(str(error).split())})") from error
