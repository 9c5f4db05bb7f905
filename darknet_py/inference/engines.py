"""Inference engines, which compute the outputs of a network's heads.

    plain         the layers themselves, one by one
    torch         the fused network of ``optimise`` (the default)
    graph         the fused network, captured as one CUDA graph per input shape; needs a GPU
    openvino      OpenVINO on CPUs and Intel GPUs; pip install openvino
    onnxruntime   ONNX Runtime; pip install onnx onnxscript onnxruntime
    auto          the fastest that is installed for the network's device

An engine replaces ``Network.forward`` only: decoding and NMS are the same for all. OpenVINO and ONNX Runtime run a
converted copy of the network, which is cached on disk under a hash of cfg, weights and input size.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from .. import cfg
from ..errors import DarknetError
from ..exporters.onnx.model import to_onnx, write_onnx
from ..exporters.onnx.session import create_session
from ..exporters.quiet import quiet_converters
from ..hub.catalogue import cache_folder
from ..network import Network
from .fused_network import FusedNetwork

Engine = Callable[[Tensor], list[Tensor]]
_REQUIRED_PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
ENGINES = ("plain", "torch", "graph", *_REQUIRED_PACKAGES, "auto")


def create_engine(network: Network, name: str | Engine = "torch", *, dtype: str = "fp32") -> Engine:
    """Create a function that computes the outputs of a network's heads.

    Args:
        network: The network. OpenVINO and ONNX Runtime accept inputs of ``network.shape`` only.
        name: One of ``ENGINES``, see the module's docstring. A function is returned unchanged.
        dtype: ``fp32``, ``bf16`` or ``fp16``, see ``optimise``. ``plain`` and ``onnxruntime`` support ``fp32`` only.

    Returns:
        A function from images, float32 [batch, channels, height, width] in 0..1, to what ``network(images)`` returns:
        one float32 tensor per head.

    Raises:
        DarknetError: The name is unknown, or the engine is not installed or does not support the network.
    """
    if not isinstance(name, str):
        return name
    if name not in ENGINES:
        raise DarknetError(f"engine: expected one of {', '.join(ENGINES)}, got {name!r}")
    if name == "auto":
        name = _fastest(network)
    if name in ("plain", "onnxruntime") and dtype != "fp32":
        raise DarknetError(f"engine {name}: dtype: expected fp32, got {dtype!r}")
    if name == "plain":
        return network
    if name in ("torch", "graph"):
        try:
            return FusedNetwork(network, dtype=dtype, graph=name == "graph")
        except ValueError as error:
            raise DarknetError(f"engine {name}: {error}") from error
    if not is_installed(name):
        raise DarknetError(f"engine {name}: not installed: pip install {' '.join(_REQUIRED_PACKAGES[name])}")
    if network.stateful:
        raise DarknetError(f"engine {name}: does not keep the state of recurrent layers: expected torch")
    return _OpenVINOEngine(network, dtype) if name == "openvino" else _ONNXRuntimeEngine(network)


def is_installed(name: str) -> bool:
    """Whether the packages that an engine needs are installed."""
    return all(importlib.util.find_spec(package) is not None for package in _REQUIRED_PACKAGES.get(name, ()))


def _fastest(network: Network) -> str:
    """Return openvino on CPUs where it is installed, else torch; ONNX Runtime is not faster than torch."""
    on_cpu = all(p.device.type == "cpu" for p in network.parameters())
    return "openvino" if on_cpu and is_installed("openvino") and not network.stateful else "torch"


class _OpenVINOEngine:
    """A network in OpenVINO, compiled once per batch size."""

    def __init__(self, network: Network, dtype: str) -> None:
        import openvino

        self.core = openvino.Core()
        self.model = self.core.read_model(_convert_cached(network, "openvino", ".xml", _write_openvino))
        self.shape = _input_shape(network, len(self.model.input(0).partial_shape))
        self.precision = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[dtype]
        self.requests: dict[int, Any] = {}  # by batch size

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Compute the heads' outputs of ``x`` [batch, channels, height, width]."""
        inputs = x.reshape(-1, *self.shape).contiguous().numpy()
        batch = len(inputs)
        if batch not in self.requests:
            self.model.reshape([batch, *self.shape])
            hints = {
                "INFERENCE_PRECISION_HINT": self.precision,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            self.requests[batch] = self.core.compile_model(self.model, "CPU", hints).create_infer_request()
        outputs = self.requests[batch].infer([inputs], share_inputs=True)
        return [torch.from_numpy(output) for output in outputs.values()]


class _ONNXRuntimeEngine:
    """A network in ONNX Runtime."""

    def __init__(self, network: Network) -> None:
        path = _convert_cached(network, "onnxruntime", ".onnx", _write_onnx)
        self.session = create_session(path, providers=None, threads=torch.get_num_threads())
        first = self.session.get_inputs()[0]
        self.input = first.name
        self.shape = _input_shape(network, len(first.shape))

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Compute the heads' outputs of ``x`` [batch, channels, height, width]."""
        inputs = x.reshape(-1, *self.shape).contiguous().numpy()
        return [torch.from_numpy(output) for output in self.session.run(None, {self.input: inputs})]


def _input_shape(network: Network, dims: int) -> tuple[int, ...]:
    """Shape of one input of a converted network, whose input has ``dims`` dimensions: an image, or a vector."""
    return tuple(network.shape) if dims == 4 else (network.shape.floats,)


def _convert_cached(
    network: Network, name: str, suffix: str, write: Callable[[Network, pathlib.Path], None]
) -> pathlib.Path:
    """Return the path of the converted network in the cache; ``write`` converts it if it is not there yet."""
    folder = cache_folder() / "engines" / name / _cache_key(network, name)
    path = folder / f"network{suffix}"
    if path.is_file():
        return path
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unfinished = pathlib.Path(scratch, "new")
        unfinished.mkdir()
        try:
            write(network, unfinished / path.name)
        except Exception as error:  # the converters' exceptions have no common base class
            first_line = str(error).strip().partition("\n")[0]
            raise DarknetError(f"engine {name}: cannot convert the network: {first_line}") from error
        if not folder.exists():
            unfinished.replace(folder)
    return path


def _cache_key(network: Network, name: str) -> str:
    """A hash of everything that determines the converted network."""
    key = hashlib.sha256(repr((cfg.dumps(network.config), network.dialect, network.shape, version(name))).encode())
    for tensor in network.state_dict().values():
        key.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return key.hexdigest()[:32]


def _write_onnx(network: Network, path: pathlib.Path) -> None:
    write_onnx(to_onnx(network, dynamic="batch"), path)


def _write_openvino(network: Network, path: pathlib.Path) -> None:
    import openvino

    # A batch of two: tracing treats lengths of 1 as constants.
    example = torch.rand(2, *network.shape, device=next(network.parameters()).device)
    try:
        with torch.no_grad(), quiet_converters():
            model = openvino.convert_model(network, example_input=example, input=[[-1, *network.shape]])
    except Exception:  # OpenVINO supports fewer operators of traced modules than of ONNX
        onnx_path = path.with_suffix(".onnx")
        _write_onnx(network, onnx_path)
        model = openvino.convert_model(onnx_path)
        onnx_path.unlink()
    openvino.save_model(model, path, compress_to_fp16=False)
