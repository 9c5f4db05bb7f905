"""``engine``: what computes a network's outputs. The heads' boxes and their suppression stay ours.

    plain         the layers themselves, one by one
    torch         the optimised network of ``optimise`` (the default)
    graph         the same, recorded as a CUDA graph for each input shape; for networks on a GPU
    openvino      OpenVINO on CPUs and Intel GPUs; pip install openvino
    onnxruntime   ONNX Runtime; pip install onnx onnxscript onnxruntime
    auto          the fastest that is installed for the network's device

OpenVINO and ONNX Runtime get a copy of the network in their own format, which is kept in the user's cache
under a hash of cfg, weights and size, so that the second start is quick.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from .. import cfg
from ..errors import DarknetError
from ..hub.catalogue import cache_folder
from ..layers import Layer
from ..network import Network
from .fused_network import FusedNetwork

Run = Callable[[Tensor], list[Tensor]]
_NEEDS = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
ENGINES = ("plain", "torch", "graph", *_NEEDS, "auto")


def engine(network: Network, name: str | Run = "torch", *, dtype: str = "fp32") -> Run:
    """A function from images [batch, channels, height, width] in 0..1 to the outputs of the heads.

    ``name``: see above; or such a function, which is returned. ``dtype``: ``fp32``, ``bf16`` or ``fp16`` (see
    ``optimise``; ONNX Runtime and plain know fp32 alone). The converted engines take the input's size from the
    network and keep to it. Raises DarknetError where the engine is not installed or cannot run the network.
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
    _check(network, name)
    return (_OpenVINO if name == "openvino" else _ONNXRuntime)(network, dtype)


def installed(name: str) -> bool:
    """Whether the packages that an engine needs are there."""
    return all(importlib.util.find_spec(package) is not None for package in _NEEDS.get(name, ()))


def _fastest(network: Network) -> str:
    """OpenVINO on CPUs where it is installed; ONNX Runtime is no faster than the built-in engine."""
    on_cpu = all(p.device.type == "cpu" for p in network.parameters())
    return "openvino" if on_cpu and installed("openvino") and not _remembers(network) else "torch"


def _remembers(network: Network) -> bool:
    return any(type(layer).reset is not Layer.reset for layer in network)


def _check(network: Network, name: str) -> None:
    if not installed(name):
        raise DarknetError(f"engine {name}: not installed: pip install {' '.join(_NEEDS[name])}")
    if _remembers(network):
        raise DarknetError(f"engine {name}: the network keeps a state from call to call; use the engine torch")


class _OpenVINO:
    """A network in OpenVINO; compiled anew for every batch size."""

    def __init__(self, network: Network, dtype: str) -> None:
        import openvino

        self.core = openvino.Core()
        self.model = self.core.read_model(_cached(network, "openvino", ".xml", _to_openvino))
        self.shape, self.hint = network.shape, {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[dtype]
        self.compiled: dict[int, Any] = {}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Run it."""
        images = x.reshape(-1, *self.shape).contiguous().numpy()
        if len(images) not in self.compiled:
            self.model.reshape([len(images), *self.shape])
            hints = {
                "INFERENCE_PRECISION_HINT": self.hint,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            self.compiled[len(images)] = self.core.compile_model(self.model, "CPU", hints).create_infer_request()
        found = self.compiled[len(images)].infer([images], share_inputs=True)
        return [torch.from_numpy(output) for output in found.values()]


class _ONNXRuntime:
    """A network in ONNX Runtime."""

    def __init__(self, network: Network, dtype: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        path = _cached(network, "onnxruntime", ".onnx", _to_onnx)
        self.session = onnxruntime.InferenceSession(os.fspath(path), options, onnxruntime.get_available_providers())
        self.shape, self.input = network.shape, self.session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Run it."""
        images = x.reshape(-1, *self.shape).contiguous().numpy()
        return [torch.from_numpy(output) for output in self.session.run(None, {self.input: images})]


def _cached(network: Network, name: str, suffix: str, write: Callable[[Network, pathlib.Path], None]) -> pathlib.Path:
    """The network in another format, written by ``write`` where it is not in the cache yet."""
    folder = cache_folder() / "engines" / name / _key(network, name)
    path = folder / f"network{suffix}"
    if path.is_file():
        return path
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, _hushed():
        beside = pathlib.Path(scratch, "new")
        beside.mkdir()
        try:
            write(network, beside / path.name)
        except Exception as error:  # whatever the exporters raise: they have no class of their own for it
            first = str(error).strip().partition("\n")[0]
            raise DarknetError(f"engine {name}: cannot convert the network: {first}") from error
        if not folder.exists():
            beside.replace(folder)
    return path


def _key(network: Network, name: str) -> str:
    """A hash of all that decides what the converted network computes."""
    kind = hashlib.sha256(repr((cfg.dumps(network.config), network.dialect, network.shape, version(name))).encode())
    for tensor in network.state_dict().values():
        kind.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return kind.hexdigest()[:32]


@contextmanager
def _hushed() -> Iterator[None]:
    """Without the exporters' remarks on their own internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _to_onnx(network: Network, path: pathlib.Path) -> None:
    batch = {0: torch.export.Dim("batch")}
    torch.onnx.export(network, (_example(network),), path, dynamo=True, dynamic_shapes=(batch,), verbose=False)


def _to_openvino(network: Network, path: pathlib.Path) -> None:
    import openvino

    try:
        with torch.no_grad():
            model = openvino.convert_model(network, example_input=_example(network), input=[[-1, *network.shape]])
    except Exception:  # its reader of traces knows fewer operators than its reader of ONNX
        between = path.with_suffix(".onnx")
        _to_onnx(network, between)
        model = openvino.convert_model(between)
        between.unlink()
    openvino.save_model(model, path, compress_to_fp16=False)


def _example(network: Network) -> Tensor:
    """Two images: exporters take a batch of one for a constant."""
    return torch.rand(2, *network.shape, device=next(network.parameters()).device)
