"""A network as an ONNX model in memory; export.py writes and checks it.

The graph comes from ``torch.onnx.export(dynamo=True)`` and is then put into the forms that OpenCV 4 and 5,
TensorRT and OpenVINO read best: a pooling's -inf border becomes the padding of the MaxPool, padding by
nothing goes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .. import cfg as cfg_
from .. import weights
from ..errors import DarknetError
from ..network import Network
from . import onnx_nms
from .program import Heads, Program, trace

if TYPE_CHECKING:
    import onnx

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
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise DarknetError("ONNX export needs the packages onnx and onnxscript: pip install onnx onnxscript") from error
    kind = Heads(heads)
    if opset < OPSET:
        raise DarknetError(f"opset: expected {OPSET} or more, got {opset}")
    program = Program(network, kind, half=fp16)
    inputs, outputs = program.names
    traced = trace(program, dynamic)
    try:
        with _quiet():
            made = torch.onnx.export(
                traced,
                input_names=inputs,
                output_names=outputs,
                opset_version=opset,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().partition("\n")[0]
        raise DarknetError(f"{network.config.path}: torch cannot put it into ONNX ({cause})") from error
    if made is None:
        raise DarknetError(f"{network.config.path}: torch gave no ONNX program")
    model: onnx.ModelProto = made.model_proto
    _tidy(model)
    if kind is Heads.NMS:
        onnx_nms.append(model, threshold, nms, network.heads[-1].suppression)
    entries = metadata(network, names=names, letterbox=letterbox) | {"heads": str(kind), "threshold": str(threshold)}
    onnx.helper.set_model_props(model, entries | {"nms": str(nms), "fp16": str(fp16).lower()})
    onnx.checker.check_model(model)
    return model


def metadata(network: Network, *, names: Sequence[str] = (), letterbox: bool | None = None) -> dict[str, str]:
    """What travels inside an exported file, as strings; what is no text is JSON."""
    from .. import __version__

    if letterbox is None:
        letterbox = network.options.letter_box or network.dialect is cfg_.Dialect.PJREDDIE
    layers = {id(layer): index for index, layer in enumerate(network)}
    heads = [
        {
            "layer": layers[id(head)],
            "section": head.names[0],
            "classes": head.classes,
            "anchors": [list(pair) for pair in getattr(head, "anchors", ())],
            "nms_kind": str(head.suppression.kind),
            "beta_nms": head.suppression.beta,
        }
        for head in network.heads
    ]
    return {
        "producer": f"darknet_py {__version__}",
        "input": "RGB planes, values 0..1" if network.shape.channels == 3 else "values 0..1",
        "resize": "letterbox" if letterbox else "stretch",
        "boxes": "x y w h of centre and size, relative to the input",
        "names": json.dumps(list(names or network.names), ensure_ascii=False),
        "head_options": json.dumps(heads),
        "dialect": str(network.dialect),
        "cfg_sha256": hashlib.sha256(network.config.text.encode("utf-8", "surrogateescape")).hexdigest(),
        "weights_sha256": _digest(network),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own parts from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tidy(model: onnx.ModelProto) -> None:
    """Give a pooling its -inf border as padding, and leave out padding by nothing."""
    import onnx

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in [node for node in graph.node if node.op_type == "Pad" and len(node.input) > 1]:
        if node.input[1] not in constants or (len(node.input) > 3 and node.input[3]):
            continue
        pads = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        followers = readers.get(node.output[0], [])
        inner = [*pads[2:4], *pads[6:8]]
        if len(pads) != 8 or any([*pads[:2], *pads[4:6]]) or min(inner) < 0:
            continue
        if any(inner) and not all(_takes(follower, node, constants, inner) for follower in followers):
            continue
        for follower in followers:
            follower.input[0] = node.input[0]
            if any(inner):
                del [a for a in follower.attribute if a.name == "pads"][:]
                _set_pads(follower, inner)
        graph.node.remove(node)


def _takes(pool: onnx.NodeProto, pad: onnx.NodeProto, constants: Mapping[str, Any], pads: Sequence[int]) -> bool:
    """Whether a node is a MaxPool without padding of its own, wider than the border of -inf before it."""
    import onnx

    if pool.op_type != "MaxPool" or len(pad.input) < 3 or pad.input[2] not in constants:
        return False
    options = {a.name: onnx.helper.get_attribute_value(a) for a in pool.attribute}
    value = float(onnx.numpy_helper.to_array(constants[pad.input[2]]))
    free = not any(options.get("pads", ())) and options.get("auto_pad", b"NOTSET") == b"NOTSET"
    return value == float("-inf") and free and max(pads) < min(options["kernel_shape"])


def _set_pads(pool: onnx.NodeProto, pads: Sequence[int]) -> None:
    import onnx

    others = [a for a in pool.attribute if a.name != "pads"]
    del pool.attribute[:]
    pool.attribute.extend([*others, onnx.helper.make_attribute("pads", list(pads))])


def _digest(network: Network) -> str:
    """SHA-256 of the .weights file that the network would be saved as."""
    major, minor, revision = network.version
    header = weights.Header(major, minor, revision, network.seen)
    total = hashlib.sha256(struct.pack(header.layout(network.dialect), *header))
    for array in weights.stored(network, transposed=header.transposed, writing=True):
        floats = array.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        total.update(floats.astype("<f4", copy=False).data)
    return total.hexdigest()
