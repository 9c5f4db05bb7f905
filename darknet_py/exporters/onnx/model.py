"""Convert a network to an ONNX model in memory, and write it.

The graph comes from ``torch.onnx.export(dynamo=True)``; ``cleanup`` then rewrites it for other runtimes.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ...errors import DarknetError
from ...network import Network
from ...postprocess import Heads, nms_options
from .. import metadata
from ..quiet import quiet_converters
from ..traceable import TraceableNetwork, trace
from . import nms_nodes
from .cleanup import clean_up, remove_unused
from .opsets import OLDEST, lower_opset

if TYPE_CHECKING:
    import onnx

_MAX_BYTES = 2**31 - 2**24  # of weights in one file: protobuf's limit, less space for the graph
OPSET = 18  # the lowest that torch writes; OpenCV 4.14 reads it


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
    classes: Sequence[int] | None = None,
) -> onnx.ModelProto:
    """Convert a network to ONNX.

    Args:
        network: The network.
        heads: What the model returns, see ``Heads``. Its inputs and outputs are named as in ``TraceableNetwork``.
        dynamic: Dynamic dimensions of the input: ``"batch"``, ``"size"`` (height and width, in multiples of the largest
            stride), True for both, or False.
        opset: ONNX opset, 11 or later.
        fp16: Store weights and compute layers in float16; inputs and outputs stay float32.
        names: Class names for the metadata; empty: the network's own.
        letterbox: For the metadata: whether images are letterboxed; None: by the cfg and dialect.
        threshold: Score threshold, 0..1: constant of the graph with ``heads="nms"``, else metadata.
        nms: IoU threshold of NMS, 0..1, 0 disables it: constant of the graph with ``heads="nms"``, else metadata.
        classes: With ``heads="nms"``, numbers of the classes to report; None: all.

    Raises:
        DarknetError: onnx or onnxscript is not installed, an option is out of range, or the network cannot be
            converted, or has an operator that the opset lacks.
    """
    try:
        import onnx
        import onnxscript.optimizer
    except ImportError as error:
        raise DarknetError("ONNX export needs onnx and onnxscript: pip install 'darknet-torch[export]'") from error
    heads = Heads(heads)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        raise DarknetError(f"opset: expected {OLDEST} to {newest}, got {opset}")
    for name, value in (("threshold", threshold), ("nms", nms)):
        if not 0 <= value <= 1:
            raise DarknetError(f"{name}: expected a number in 0..1, got {value}")
    module = TraceableNetwork(network, heads, half=fp16, threshold=threshold)
    if heads is Heads.NMS and nms and not (kind := nms_options(network).kind).is_darknets:
        raise DarknetError(f"heads=nms does not support nms_kind={kind}: use heads=boxes")
    traced = trace(module, dynamic)
    try:
        with quiet_converters():
            program = torch.onnx.export(
                traced,
                input_names=module.input_names,
                output_names=module.output_names,
                opset_version=max(opset, OPSET),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
            if program is not None:  # OpenCV cannot read nodes whose inputs are weights only (xnor)
                limits = {"input_size_limit": _MAX_BYTES, "output_size_limit": _MAX_BYTES}
                onnxscript.optimizer.fold_constants(program.model, **limits)
    except torch.onnx.errors.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().partition("\n")[0]
        raise DarknetError(f"{network.config.path}: torch cannot convert it to ONNX ({cause})") from error
    if program is None:
        raise DarknetError(f"{network.config.path}: torch.onnx.export returned no model")
    model: onnx.ModelProto = program.model_proto
    clean_up(model)
    if heads is Heads.NMS:
        nms_nodes.append_nms(model, threshold, nms, nms_options(network), classes)
    if opset < OPSET:
        try:
            lower_opset(model, opset)
        except ValueError as error:
            raise DarknetError(f"{network.config.path}: opset={opset}: {error}") from error
    remove_unused(model.graph)
    entries = metadata.describe(
        network,
        heads=heads,
        outputs=[output.name for output in model.graph.output],
        names=names,
        letterbox=letterbox,
        threshold=threshold,
        nms=nms,
        fp16=fp16,
        classes=classes,
    )
    onnx.helper.set_model_props(model, entries)
    return model


def write_onnx(model: onnx.ModelProto, path: pathlib.Path) -> bool:
    """Write a model and check the file with ``onnx.checker``, with the types of all values if its opset is not torch's.

    Weights above protobuf's limit of 2 GB are written to ``PATH.data``, and removed from the model in memory.

    Returns:
        Whether the model fits in one file.

    Raises:
        DarknetError: The model is not valid in its opset.
    """
    import onnx

    is_one_file = sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _MAX_BYTES
    if is_one_file:
        path.write_bytes(model.SerializeToString())
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    opset = model.opset_import[0].version
    try:
        onnx.checker.check_model(path, full_check=opset < OPSET)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DarknetError(f"{path.name}: not valid in opset {opset}: {' '.join(str(error).split())}") from error
    return is_one_file
