"""A network as an ONNX model in memory; export.py writes and checks it.

The graph comes from ``torch.onnx.export(dynamo=True)``; onnx_tidy.py then puts it into the forms that other
runtimes read best.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ... import weights
from ...errors import DarknetError
from ...network import Network
from ...postprocess import uses_letterbox
from ..quiet import quiet_converters
from ..traceable import Heads, Program, trace
from . import nms_nodes
from .cleanup import tidy

if TYPE_CHECKING:
    import onnx

_LIMIT = 2**31 - 2**24  # bytes that protobuf takes in one piece, less the graph's room
OPSET = 18  # the lowest that torch writes without a conversion afterwards; OpenCV 4.14 reads it


def to_onnx(
    network: Network,
    *,
    heads: Heads | str = Heads.RAW,
    dynamic: bool | str = False,
    opset: int = OPSET,
    fp16: bool = False,
    names: Sequence[str] = (),
    letterbox: bool | None = None,
    threshold: float = 0.25,
    nms: float = 0.45,
) -> onnx.ModelProto:
    """The network as a ModelProto, its input ``input`` and outputs as ``program.Heads`` says.

    ``dynamic``: which lengths of the input may differ from call to call: ``"batch"``, ``"size"`` (width and
    height, in multiples of the largest stride), True for both. ``fp16``: weights and layers in float16;
    inputs and outputs stay float32. ``threshold``, ``nms``: worked into the graph by ``heads="nms"``,
    noted for those who do it themselves by the others. Recurrent layers: their states are inputs
    ``state_LAYER_N`` and outputs ``next_state_LAYER_N``. Raises DarknetError.
    """
    try:
        import onnx
        import onnxscript.optimizer
    except ImportError as error:
        raise DarknetError("ONNX export needs the packages onnx and onnxscript: pip install onnx onnxscript") from error
    kind = Heads(heads)
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise DarknetError(f"opset: expected {OPSET} to {newest}, got {opset}")
    for name, value in (("threshold", threshold), ("nms", nms)):
        if not 0 <= value <= 1:
            raise DarknetError(f"{name}: expected a number in 0..1, got {value}")
    program = Program(network, kind, half=fp16, threshold=threshold)
    inputs, outputs = program.names
    traced = trace(program, dynamic)
    try:
        with quiet_converters():
            made = torch.onnx.export(
                traced,
                input_names=inputs,
                output_names=outputs,
                opset_version=opset,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
            if made is not None:  # what is worked out of weights alone (xnor): OpenCV reads no such nodes
                onnxscript.optimizer.fold_constants(made.model, input_size_limit=_LIMIT, output_size_limit=_LIMIT)
    except torch.onnx.errors.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().partition("\n")[0]
        raise DarknetError(f"{network.config.path}: torch cannot put it into ONNX ({cause})") from error
    if made is None:
        raise DarknetError(f"{network.config.path}: torch gave no ONNX program")
    model: onnx.ModelProto = made.model_proto
    tidy(model)
    if kind is Heads.NMS:
        nms_nodes.append(model, threshold, nms, network.heads[-1].nms_options)
    entries = metadata(network, names=names, letterbox=letterbox) | {"heads": str(kind), "threshold": str(threshold)}
    onnx.helper.set_model_props(model, entries | {"nms": str(nms), "fp16": str(fp16).lower()})
    return model


def write_onnx(model: onnx.ModelProto, path: pathlib.Path) -> bool:
    """Write the model and let onnx check it; whether it is one file, as below protobuf's 2 GB.

    Beyond that the weights go into ``PATH.data`` beside it, and the model in memory is left without them.
    """
    import onnx

    whole = sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _LIMIT
    if whole:
        path.write_bytes(model.SerializeToString())
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    onnx.checker.check_model(path)
    return whole


def metadata(network: Network, *, names: Sequence[str] = (), letterbox: bool | None = None) -> dict[str, str]:
    """What travels inside an exported file, as strings; what is no text is JSON."""
    from ..._version import __version__

    layers = {id(layer): index for index, layer in enumerate(network)}
    heads = [
        {
            "layer": layers[id(head)],
            "section": head.names[0],
            "classes": head.classes,
            "anchors": [list(pair) for pair in head.anchors],
            "nms_kind": str(head.nms_options.kind),
            "beta_nms": head.nms_options.beta,
        }
        for head in network.heads
    ]
    return {
        "producer": f"darknet_py {__version__}",
        "input": "RGB planes, values 0..1" if network.shape.channels == 3 else "values 0..1",
        "resize": "letterbox" if uses_letterbox(network, letterbox) else "stretch",
        "boxes": "x y w h of centre and size, relative to the input",
        "names": json.dumps(list(names or network.names), ensure_ascii=False),
        "head_options": json.dumps(heads),
        "dialect": str(network.dialect),
        "cfg_sha256": hashlib.sha256(network.config.text.encode("utf-8", "surrogateescape")).hexdigest(),
        "weights_sha256": _digest(network),
    }


def _digest(network: Network) -> str:
    """SHA-256 of the .weights file that the network would be saved as."""
    major, minor, revision = network.version
    header = weights.Header(major, minor, revision, network.seen)
    total = hashlib.sha256(struct.pack(header.layout(network.dialect), *header))
    for array in weights.stored(network, transposed=header.transposed, writing=True):
        floats = array.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        total.update(floats.astype("<f4", copy=False).data)
    return total.hexdigest()
