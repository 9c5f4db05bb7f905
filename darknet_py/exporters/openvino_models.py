"""OpenVINO without its telemetry: the package, the one Core of this process, and networks as its models."""

from __future__ import annotations

import functools
import importlib
import pathlib
import sys
import threading
from typing import Any

import torch

from ..network import Network, evaluating
from .onnx.model import to_onnx, write_onnx
from .quiet import quiet_converters

_TELEMETRY = "openvino_telemetry"
_lock = threading.RLock()


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, and return the package.

    ``import openvino`` and ``openvino.convert_model`` send statistics to Google Analytics, from forked processes and
    without consent, and write a client ID to ``~/intel``. Where their package for that is missing, they do not. It is
    hidden during the import only; a program that has imported OpenVINO before keeps what it has.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    with _lock:
        if "openvino" in sys.modules or _TELEMETRY in sys.modules:
            return importlib.import_module("openvino")
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # the import system's way to hide a module
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]


def get_core() -> Any:
    """Return the ``openvino.Core`` of this process, which is kept until the process ends.

    OpenVINO's CPU plugin replaces the signal stack (``sigaltstack``) of the thread that loads it, and unmaps it when
    the Core is released. The thread is left with an unmapped signal stack where Cores are released in the order of
    their creation or in another thread: the next signal, such as SIGINT, ends the process with a segmentation fault.
    """
    with _lock:
        return _create_core()


@functools.cache
def _create_core() -> Any:
    return import_openvino().Core()


def convert_network(network: Network, folder: pathlib.Path) -> Any:
    """Return the network as an ``openvino.Model`` with a dynamic batch size.

    Args:
        network: A stateless network.
        folder: For temporary files.

    Raises:
        DarknetError: The network cannot be converted.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # A batch of two: tracing treats lengths of 1 as constants.
    example = torch.rand(2, *network.shape, device=next(network.parameters()).device)
    try:
        with torch.no_grad(), quiet_converters(), evaluating(network):
            decoder = TorchScriptPythonDecoder(network, example_input=example)  # the frontend does not keep it alive
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
            model.reshape([-1, *network.shape])
    except Exception:  # OpenVINO supports fewer operators of traced modules than of ONNX
        onnx_path = folder / "openvino.onnx"
        write_onnx(to_onnx(network, dynamic="batch"), onnx_path)
        model = get_core().read_model(onnx_path)
        onnx_path.unlink()
    return model
