"""OpenVINO without its telemetry: the package, the one Core of this process, and model files in it."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec

RT_INFO = "darknet_py"  # key of the metadata in a model's runtime information
_TELEMETRY = "openvino_telemetry"
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_TYPES = {"f32": "float32", "f16": "float16"}
_lock = threading.RLock()


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, and return the package.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return import_without_telemetry("openvino")


def import_without_telemetry(name: str) -> Any:
    """Import OpenVINO, or a package that builds on it, without its telemetry, and return the package.

    ``import openvino``, ``openvino.convert_model`` and ``nncf.quantize`` send statistics to Google Analytics, from
    forked processes and without consent, and write a client ID to ``~/intel``. Where their package for that is missing,
    they do not. It is hidden during the import only; a program that has imported them before keeps what it has.

    Raises:
        ImportError: The package is not installed.
    """
    with _lock:
        if name in sys.modules or _TELEMETRY in sys.modules:
            return importlib.import_module(name)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # the import system's way to hide a module
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[_TELEMETRY]


def get_core() -> Any:
    """Return the ``openvino.Core`` of this process, which is kept until the process ends.

    OpenVINO's CPU plugin replaces the signal stack (``sigaltstack``) of the thread that loads it, and unmaps it when
    the Core is released. The thread is left with an unmapped signal stack where Cores are released in the order of
    their creation or in another thread: the next signal, such as SIGINT, ends the process with a segmentation fault.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    with _lock:
        return _create_core()


@functools.cache
def _create_core() -> Any:
    return import_openvino().Core()


class OpenVINOModel(RuntimeModel):
    """A model that OpenVINO reads (.xml, .onnx), compiled for the sizes of its first inputs.

    With sizes that are known OpenVINO needs 1 to 2 % less time for a large network, and up to half for a small one.
    Inputs of other sizes run in a second compiled model, which accepts all that the file does.

    Args:
        path: The file.
        threads: CPU threads; 0: OpenVINO's default.
        precision: ``fp32``, ``bf16`` or ``fp16``: the type to compute in.

    Raises:
        DarknetError: openvino is not installed, or cannot load the model.
    """

    runtime = "OpenVINO"

    def __init__(self, path: StrPath, *, threads: int = 0, precision: str = "fp32") -> None:
        self.path = os.fspath(path)
        try:
            self._core = get_core()
        except ImportError as error:
            raise DarknetError(
                f"{self.path}: needs the package openvino: pip install 'darknet-torch[openvino]'"
            ) from error
        self._hints = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            self._hints["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model = self._core.read_model(self.path)
        except RuntimeError as error:
            raise DarknetError(f"{self.path}: OpenVINO cannot load it ({' '.join(str(error).split())})") from error
        self._model = model
        self.inputs = tuple(
            TensorSpec(_name(value, f"input_{index}"), _shape(value), _type(value))
            for index, value in enumerate(model.inputs)
        )
        self.outputs = tuple(_name(value, f"output_{index}") for index, value in enumerate(model.outputs))
        information = model.get_rt_info()
        entries = _value(information[RT_INFO]) if RT_INFO in information else {}
        self.metadata = {key: str(_value(entry)) for key, entry in dict(entries).items()}
        # A request holds the inputs and outputs of one call. More requests would gain nothing: the latency hint
        # gives each call all the threads.
        self._lock = threading.Lock()
        self._first_shapes: list[tuple[int, ...]] | None = None
        self._requests: dict[bool, Any] = {}  # of the first inputs' sizes, and of all

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs."""
        with self._lock:
            try:
                request = self._request_for([array.shape for array in arrays])
                return list(request.infer(list(arrays), share_inputs=True).values())
            except RuntimeError as error:
                raise DarknetError(f"{self.path}: OpenVINO: {' '.join(str(error).split())}") from error

    def _request_for(self, shapes: list[tuple[int, ...]]) -> Any:
        """Return the request of a compiled model that accepts inputs of these sizes."""
        is_first = shapes == (self._first_shapes or shapes)
        if is_first not in self._requests:
            model = self._model
            if is_first and any(value.get_partial_shape().is_dynamic for value in model.inputs):
                model = model.clone()
                model.reshape(dict(zip(model.inputs, shapes, strict=True)))
            self._requests[is_first] = self._core.compile_model(model, "CPU", self._hints).create_infer_request()
            self._first_shapes = self._first_shapes or shapes
        return self._requests[is_first]


def _value(entry: Any) -> Any:
    """The value of an entry of a model's runtime information, which is an OVAny where it was read from a file."""
    return getattr(entry, "value", entry)


def _name(value: Any, default: str) -> str:
    names = sorted(value.get_names())
    return names[0] if names else default


def _shape(value: Any) -> tuple[int | str, ...]:
    return tuple(d.get_length() if d.is_static else str(d) for d in value.get_partial_shape())


def _type(value: Any) -> str:
    name = str(value.get_element_type().get_type_name())
    return _TYPES.get(name, name)
