"""Inference engines, which compute the outputs of a network's heads.

    plain         the layers themselves, one by one
    torch         the fused network of ``optimise``
    graph         the fused network as one graph for each input shape: a CUDA graph on a GPU, graphs of oneDNN on a CPU
    openvino      OpenVINO on CPUs and Intel GPUs; pip install 'darknet-torch[openvino]'
    onnxruntime   ONNX Runtime; pip install 'darknet-torch[export]'
    ncnn          ncnn in float32, on CPUs; pip install 'darknet-torch[ncnn]'
    auto          torch at first, and after 20 images the fastest that is installed, see ``auto_engine`` (the default)

An engine replaces ``Network.forward`` only: decoding and NMS are the same for all. It may be called from several
threads, and uses the weights that the network has at the time of the call, as far as ``WeightTracker`` detects their
changes. OpenVINO, ONNX Runtime and ncnn run a converted copy of the network, which ``engine_cache`` keeps on disk.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import DarknetError
from ..network import Network
from .auto_engine import AutoEngine
from .converted_engines import NcnnEngine, ONNXRuntimeEngine, OpenVINOEngine
from .convolutions import require_dtype
from .engine_choice import Engine as Engine
from .fused_network import DTYPES, FusedNetwork
from .onednn_graphs import OneDNNGraphEngine, suits

DEFAULT = "auto"
_REQUIRED_PACKAGES = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "ncnn": ("ncnn", "pnnx", "onnx", "onnxscript"),
}
_EXTRAS = {"openvino": "openvino", "onnxruntime": "export", "ncnn": "ncnn"}
_CONVERTED = {engine.name: engine for engine in (OpenVINOEngine, ONNXRuntimeEngine, NcnnEngine)}
_STATEFUL = "does not keep the state of recurrent layers: expected torch"
_FP32_ONLY = ("plain", "onnxruntime", "ncnn")
ENGINES = ("plain", "torch", "graph", *_REQUIRED_PACKAGES, "auto")


def create_engine(
    network: Network,
    name: str | Engine = DEFAULT,
    *,
    dtype: str = "fp32",
    reload: Callable[[], Network] | None = None,
) -> Engine:
    """Create a function that computes the outputs of a network's heads.

    Args:
        network: The network. OpenVINO, ONNX Runtime and ncnn accept inputs of ``network.shape`` only.
        name: One of ``ENGINES``, see the module's docstring. A function is returned unchanged.
        dtype: ``fp32``, ``bf16`` or ``fp16``, see ``optimise``. ``plain``, ``onnxruntime``, ``ncnn`` and, on a CPU,
            ``graph`` support ``fp32`` only.
        reload: Loads the network again, if nobody else uses it: ``torch``, ``graph`` and ``auto`` then free the weights
            that they have packed, see ``FusedNetwork``.

    Returns:
        A function from images, float32 [batch, channels, height, width] in 0..1, to what ``network(images)`` returns:
        one float32 tensor per head. With recurrent layers the images are consecutive frames, see ``SequenceEngine``.

    Raises:
        DarknetError: The name is unknown, or the engine is not installed or does not support the network.
    """
    if not isinstance(name, str):
        return name
    if name not in ENGINES:
        raise DarknetError(f"engine: expected one of {', '.join(ENGINES)}, got {name!r}")
    if dtype not in DTYPES:
        raise DarknetError(f"engine {name}: dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    on_cpu = all(p.device.type == "cpu" for p in network.parameters())
    if name == "auto":
        if not network.stateful and on_cpu:
            try:
                require_dtype(dtype, torch.device("cpu"))  # now, and not at the first image
            except ValueError as error:
                raise DarknetError(f"engine auto: {error}") from error
            return AutoEngine(network, _candidates(network, dtype), dtype, reload)
        name = "torch"
    if name in _FP32_ONLY and dtype != "fp32":
        raise DarknetError(f"engine {name}: dtype: expected fp32, got {dtype!r}")
    if name == "plain":
        return SequenceEngine(network.predict) if network.stateful else network.predict
    if name == "graph" and on_cpu:
        if network.stateful:
            raise DarknetError(f"engine graph: {_STATEFUL}")
        if dtype != "fp32":
            raise DarknetError(f"engine graph: dtype: expected fp32 on a CPU, got {dtype!r}")
        return OneDNNGraphEngine(network)
    if name in ("torch", "graph"):
        try:
            fused = FusedNetwork(
                network, dtype=dtype, graph=name == "graph", reload=None if network.stateful else reload
            )
        except ValueError as error:
            raise DarknetError(f"engine {name}: {error}") from error
        return SequenceEngine(fused) if network.stateful else fused
    if not is_installed(name):
        raise DarknetError(f"engine {name}: not installed: pip install 'darknet-torch[{_EXTRAS[name]}]'")
    if network.stateful:
        raise DarknetError(f"engine {name}: {_STATEFUL}")
    return _CONVERTED[name](network, dtype)


class SequenceEngine:
    """A recurrent network as an engine: the images of a batch are consecutive frames and run one by one.

    So the outputs do not depend on the batch size; Darknet runs detectors and classifiers with batches of one.

    Args:
        run: ``Network.predict``, or the fused network.
    """

    def __init__(self, run: Engine) -> None:
        self.run = run

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs of ``images`` [batch, channels, height, width], in their order."""
        outputs = [self.run(image) for image in images.split(1)]
        return [torch.cat(of_head) for of_head in zip(*outputs, strict=True)]


def is_installed(name: str) -> bool:
    """Whether the packages that an engine needs are installed."""
    return all(importlib.util.find_spec(package) is not None for package in _REQUIRED_PACKAGES.get(name, ()))


def _candidates(network: Network, dtype: str) -> dict[str, Callable[..., Engine]]:
    """Return functions that open the engines which ``auto`` chooses from, by name."""
    names = ["torch", *_CONVERTED] if dtype == "fp32" else ["torch", "openvino"]
    if dtype == "fp32" and suits(network):
        names.insert(1, "graph")
    return {name: functools.partial(create_engine, network, name, dtype=dtype) for name in names if is_installed(name)}
