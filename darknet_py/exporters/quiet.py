"""``quiet_converters``: silence warnings and log messages of converters about their own internals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..messages import quiet_loggers

_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


@contextmanager
def quiet_converters() -> Iterator[None]:
    """Silence Python warnings, and the converters' loggers below ERROR, inside the block."""
    with quiet_loggers(*_LOGGERS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
