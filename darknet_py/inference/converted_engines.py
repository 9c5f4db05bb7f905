"""Engines that run a converted copy of the network in another runtime: OpenVINO and ONNX Runtime.

They may be called from several threads, and convert the network again after its weights have changed.
"""

from __future__ import annotations

import pathlib
import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..exporters.onnx.model import to_onnx, write_onnx
from ..exporters.onnx.session import create_session
from ..exporters.openvino_models import convert_network, get_core, import_openvino
from ..network import Network
from .engine_cache import load_or_convert
from .weight_tracker import WeightTracker

_FILE = "network"  # stem of the files of a converted network
_Array = npt.NDArray[np.float32]


class ConvertedEngine(ABC):
    """A network in another runtime: a function of ``images``, float32 [batch, channels, height, width] in 0..1.

    Args:
        network: The network; stateless.
        dtype: Precision: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        DarknetError: The network cannot be converted.
    """

    def __init__(self, network: Network, dtype: str = "fp32") -> None:
        self.network = network
        self.dtype = dtype
        self._lock = threading.Lock()
        self._tracker = WeightTracker(network)
        self._open()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs of images of ``network.shape``."""
        with self._lock:
            if self._tracker.changed():
                self._tracker.update()  # first, so that changes during the conversion are detected by the next call
                self._open()
        inputs = images.reshape(-1, *self._input_shape).contiguous().numpy(force=True)
        return [torch.from_numpy(output).to(images.device) for output in self._run(inputs)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the network; the copy converts it or finds it in the cache."""
        return type(self), (self.network, self.dtype)

    def _set_input_rank(self, rank: int) -> None:
        """Set the shape of one input by the number of dimensions of the input: an image, or a vector."""
        self._input_shape = tuple(self.network.shape) if rank == 4 else (self.network.shape.floats,)

    @abstractmethod
    def _open(self) -> None:
        """Convert the network with its current weights, and prepare to run it."""

    @abstractmethod
    def _run(self, inputs: _Array) -> list[_Array]:
        """Return the outputs in newly allocated memory."""


class OpenVINOEngine(ConvertedEngine):
    """A network in OpenVINO, compiled once for all batch sizes."""

    def _open(self) -> None:
        core = get_core()

        def read(folder: pathlib.Path) -> Any:
            return core.read_model(folder / f"{_FILE}.xml")

        model = load_or_convert(self.network, "openvino", self._write, read)
        self._set_input_rank(len(model.input(0).partial_shape))
        hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[self.dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._request = core.compile_model(model, "CPU", hints).create_infer_request()

    def _run(self, inputs: _Array) -> list[_Array]:
        # A request holds the inputs and outputs of one call. More requests would gain nothing: the latency hint
        # gives each call all the threads.
        with self._lock:
            return list(self._request.infer([inputs], share_inputs=True).values())

    def _write(self, folder: pathlib.Path) -> None:
        model = convert_network(self.network, folder)
        import_openvino().save_model(model, folder / f"{_FILE}.xml", compress_to_fp16=False)


class ONNXRuntimeEngine(ConvertedEngine):
    """A network in ONNX Runtime."""

    def _open(self) -> None:
        def read(folder: pathlib.Path) -> Any:
            return create_session(folder / f"{_FILE}.onnx", providers=None, threads=torch.get_num_threads())

        self._session = load_or_convert(self.network, "onnxruntime", self._write, read)
        self._set_input_rank(len(self._session.get_inputs()[0].shape))

    def _run(self, inputs: _Array) -> list[_Array]:
        session = self._session
        return list(session.run(None, {session.get_inputs()[0].name: inputs}))

    def _write(self, folder: pathlib.Path) -> None:
        write_onnx(to_onnx(self.network, dynamic="batch"), folder / f"{_FILE}.onnx")
