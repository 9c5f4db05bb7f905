"""ncnn models: MODEL.ncnn.param with MODEL.ncnn.bin (weights) and MODEL.ncnn.json (metadata) beside it.

ncnn's files have no place for metadata, nor the shapes of inputs and outputs, so ``export`` writes a third file: a JSON
object with ``metadata``, and in ``inputs`` and ``outputs`` the shape of each, by its name.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._typing import StrPath
from ..errors import DarknetError
from .model import Array, RuntimeModel, TensorSpec


def is_ncnn_installed() -> bool:
    """Whether ncnn can be imported."""
    return importlib.util.find_spec("ncnn") is not None


class NcnnModel(RuntimeModel):
    """An ncnn model, in float32 and on the CPU; a call takes one image.

    Args:
        path: The .param file.
        threads: CPU threads; 0: ncnn's default.

    Raises:
        DarknetError: ncnn is not installed, or cannot load the files.
    """

    runtime = "ncnn"

    def __init__(self, path: StrPath, *, threads: int = 0) -> None:
        self.path = os.fspath(path)
        try:
            import ncnn
        except ImportError as error:
            raise DarknetError(f"{self.path}: needs the package ncnn: pip install 'darknet-torch[ncnn]'") from error
        self._ncnn = ncnn
        weights, description = (pathlib.Path(path).with_suffix(suffix) for suffix in (".bin", ".json"))
        try:
            content = json.loads(description.read_text(encoding="utf-8"))
            self.metadata = {str(key): str(value) for key, value in content["metadata"].items()}
            self.inputs = tuple(TensorSpec(name, tuple(map(int, shape))) for name, shape in content["inputs"].items())
            self._shapes = {str(name): tuple(map(int, shape)) for name, shape in content["outputs"].items()}
            if any(int(length) < 1 for spec in self.inputs for length in spec.shape):
                raise ValueError("a length below 1")
        except OSError as error:
            raise DarknetError(
                f"{self.path}: {description.name} cannot be read ({error.strerror or error}): expected the three files "
                "of darknet-py export: .param, .bin and .json"
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise DarknetError(
                f"{description}: expected the JSON of an exported ncnn model ({error!r:.200})"
            ) from error
        self.outputs = tuple(self._shapes)
        net = ncnn.Net()
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            if hasattr(net.opt, f"use_{option}"):  # the last is of 2026
                setattr(net.opt, f"use_{option}", False)
        if threads:
            net.opt.num_threads = threads
        for file, load in ((self.path, net.load_param), (weights, net.load_model)):
            if not os.path.isfile(file) or load(os.fspath(file)) != 0:
                raise DarknetError(f"{file}: ncnn cannot load it: expected a file of ncnn or pnnx")
        inputs = [spec.name for spec in self.inputs]
        found = {"inputs": net.input_names(), "outputs": net.output_names()}
        # ncnn ends the process where an input is missing; what no layer reads, as half of a split, is an output too.
        if sorted(inputs) != sorted(found["inputs"]) or not set(self.outputs) <= set(found["outputs"]):
            named = f"inputs {', '.join(inputs)} and outputs {', '.join(self.outputs)}"
            has = " and ".join(f"{kind} {', '.join(names)}" for kind, names in found.items())
            raise DarknetError(f"{description}: {named}: {self.path} has {has}")
        self._net = net

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Array]:
        """Compute the outputs; the inputs have a batch of one."""
        extractor = self._net.create_extractor()
        for spec, array in zip(self.inputs, arrays, strict=True):
            if array.shape != spec.shape:
                raise DarknetError(f"{self.path}: expected an input of shape {spec.shape}, got {array.shape}")
            extractor.input(spec.name, self._ncnn.Mat(np.ascontiguousarray(array[0])).clone())  # clone: aligned
        outputs = []
        for name, shape in self._shapes.items():
            status, value = extractor.extract(name)
            output = np.array(value, dtype=np.float32)
            if status != 0 or output.size != np.prod(shape):
                raise DarknetError(f"{self.path}: ncnn: output {name} of shape {output.shape}: expected {shape}")
            outputs.append(output.reshape(shape))
        return outputs
