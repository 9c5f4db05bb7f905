"""Engines that run a converted copy of the network in another runtime: OpenVINO, ONNX Runtime and ncnn.

They may be called from several threads, and convert the network again after its weights have changed.
"""

from __future__ import annotations

import pathlib
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import DarknetError
from ..exporters.ncnn_conversion import write_ncnn
from ..exporters.onnx.model import to_onnx, write_onnx
from ..exporters.openvino_conversion import convert_network
from ..network import Network
from ..runtimes.model import Array, RuntimeModel
from ..runtimes.ncnn_models import NcnnModel
from ..runtimes.onnxruntime_models import OnnxModel
from ..runtimes.openvino_models import OpenVINOModel, import_openvino
from .engine_cache import load_or_convert
from .weight_tracker import TrackedEngine


def require_shape(images: Tensor, network: Network, name: str) -> None:
    """Raise DarknetError for images [batch, channels, height, width] of another size than the network's."""
    if images.dim() == 4 and tuple(images.shape[1:]) != tuple(network.shape):
        expected, found = (" x ".join(map(str, shape)) for shape in (network.shape, images.shape[1:]))
        raise DarknetError(f"{name}: expected images of {expected} (channels, height, width), got {found}")


class ConvertedEngine(TrackedEngine):
    """A network in another runtime: a function of ``images``, float32 [batch, channels, height, width] in 0..1.

    Args:
        network: The network; stateless.
        dtype: Precision: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        DarknetError: The network cannot be converted.
    """

    name: ClassVar[str]  # of the engine
    file: ClassVar[str]  # that ``_read`` reads

    def __init__(self, network: Network, dtype: str = "fp32") -> None:
        super().__init__(network)
        self.dtype = dtype
        self._renew()

    def compute(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs with the weights of the last conversion, without looking for changes of them."""
        require_shape(images, self.network, f"engine {self.name}")
        inputs = images.reshape(-1, *self._input_shape).contiguous().numpy(force=True)
        return [torch.from_numpy(output).to(images.device) for output in self._run(inputs)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the network; the copy converts it or finds it in the cache."""
        return type(self), (self.network, self.dtype)

    def _renew(self) -> None:
        """Convert the network with its current weights, and load the file."""
        self._model = load_or_convert(
            self.network, self.name, self._write, lambda folder: self._read(folder / self.file, torch.get_num_threads())
        )
        rank = len(self._model.inputs[0].shape)  # an image, or a vector
        self._input_shape = tuple(self.network.shape) if rank == 4 else (self.network.shape.floats,)

    def _run(self, inputs: Array) -> list[Array]:
        return self._model.run([inputs])

    @abstractmethod
    def _write(self, folder: pathlib.Path) -> None:
        """Convert the network and write its files."""

    @abstractmethod
    def _read(self, path: pathlib.Path, threads: int) -> RuntimeModel:
        """Load the file."""


class OpenVINOEngine(ConvertedEngine):
    """A network in OpenVINO, compiled once for all batch sizes."""

    name = "openvino"
    file = "network.xml"

    def _write(self, folder: pathlib.Path) -> None:
        model = convert_network(self.network, folder)
        import_openvino().save_model(model, folder / self.file, compress_to_fp16=False)

    def _read(self, path: pathlib.Path, threads: int) -> RuntimeModel:
        return OpenVINOModel(path, threads=threads, precision=self.dtype)


class ONNXRuntimeEngine(ConvertedEngine):
    """A network in ONNX Runtime."""

    name = "onnxruntime"
    file = "network.onnx"

    def _write(self, folder: pathlib.Path) -> None:
        write_onnx(to_onnx(self.network, dynamic="batch"), folder / self.file)

    def _read(self, path: pathlib.Path, threads: int) -> RuntimeModel:
        return OnnxModel(path, providers=None, threads=threads)


class NcnnEngine(ConvertedEngine):
    """A network in ncnn, with weights and feature maps in float32; the images of a batch run one by one."""

    name = "ncnn"
    file = "network.ncnn.param"

    def _write(self, folder: pathlib.Path) -> None:
        write_ncnn(self.network, folder / self.file)

    def _read(self, path: pathlib.Path, threads: int) -> RuntimeModel:
        return NcnnModel(path, threads=threads)

    def _run(self, inputs: Array) -> list[Array]:
        parts = [self._model.run([image[None]]) for image in inputs]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
