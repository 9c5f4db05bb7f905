"""``read_model``: load a model file in the runtime of its suffix."""

from __future__ import annotations

import os
import pathlib

from .._typing import StrPath
from ..errors import DarknetError
from . import SUFFIXES
from .coreml_models import CoreMLModel
from .litert_models import LiteRTModel
from .model import RuntimeModel
from .ncnn_models import NcnnModel
from .onnxruntime_models import OnnxModel
from .openvino_models import OpenVINOModel
from .pt2_models import Pt2Model


def read_model(path: StrPath, *, threads: int = 0) -> RuntimeModel:
    """Load a model file in the runtime of its suffix, on the CPU (Core ML: on the processors that macOS chooses).

    Args:
        path: The file; a folder if it is a .mlpackage.
        threads: CPU threads; 0: the runtime's default. PyTorch uses those of ``torch.set_num_threads``.

    Raises:
        DarknetError: There is no such file, its runtime is not installed, or cannot load it.
    """
    name = os.fspath(path)
    suffix = pathlib.Path(path).suffix.lower()
    if not (os.path.isdir(path) if suffix == ".mlpackage" else os.path.isfile(path)):
        raise DarknetError(f"{name}: no such file")
    if suffix == ".onnx":
        return OnnxModel(path, threads=threads)
    if suffix == ".xml":
        return OpenVINOModel(path, threads=threads)
    if suffix == ".pt2":
        return Pt2Model(path)
    if suffix == ".param":
        return NcnnModel(path, threads=threads)
    if suffix == ".tflite":
        return LiteRTModel(path, threads=threads)
    if suffix == ".mlpackage":
        return CoreMLModel(path)
    raise DarknetError(f"{name}: expected a file that ends in {', '.join(SUFFIXES)}")
