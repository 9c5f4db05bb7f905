"""Export for NVIDIA's DeepStream: the configuration of its element Gst-nvinfer, and what the configuration names.

    DIR/NAME.onnx                  the detector, with boxes and scores as outputs
    DIR/config_infer_primary.txt   for nvinfer's property config-file-path
    DIR/labels.txt                 class names, one a line
    DIR/nvdsinfer_darknet.cpp      reads boxes and scores; to be compiled with DeepStream's headers

The keys are those of https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from importlib import resources
from typing import Any

from .._typing import StrPath
from ..errors import DarknetError
from ..files import check_outputs
from ..network import Network
from ..postprocess import require_heads
from .exporter import ExportResult, export
from .onnx.description import OnnxDescription, describe_onnx
from .staging import staging_folder

_CONFIG = "config_infer_primary.txt"
_LABELS = "labels.txt"
_PARSER = "nvdsinfer_darknet"  # .cpp; lib*.so is the library that the user makes of it
_FUNCTION = "NvDsInferParseDarknet"
_COLOUR_FORMATS = {3: 0, 1: 2}  # model-color-format by the channels of the input: RGB, grey
_FP32, _FP16 = 0, 2  # network-mode
_NMS = 2  # cluster-mode
_NO_CLUSTERING = 4


def export_deepstream(
    network: Network, folder: StrPath, name: str, *, max_batch: int | None = None, **options: Any
) -> ExportResult:
    """Write a detector and its configuration for Gst-nvinfer, and verify its file as ``export`` does.

    Args:
        network: The detector; images of one or three channels.
        folder: Where the files are written; created if absent.
        name: Name of the ONNX file, without its suffix.
        max_batch: Frames of a batch, 1 or more; None: 1. It should be the number of the video sources.
        **options: Further options of ``export``, except ``heads`` and ``dynamic``.

    Returns:
        The result for the ONNX file.

    Raises:
        DarknetError: As ``export``, or the network is not such a detector.
    """
    require_heads(network)
    if network.shape.channels not in _COLOUR_FORMATS:
        raise DarknetError(f"DeepStream: expected a network of 1 or 3 channels, got {network.shape.channels}")
    if max_batch is not None and max_batch < 1:
        raise DarknetError(f"max_batch: expected 1 or more, got {max_batch}")
    target = pathlib.Path(folder)
    outputs = [f"{name}.onnx", _CONFIG, _LABELS, f"{_PARSER}.cpp"]
    names = options.get("names")
    check_outputs(
        [target / each for each in outputs],
        [network.config.path, names if isinstance(names, str | os.PathLike) else None],
    )
    with staging_folder(target) as staging:
        path = staging / f"{name}.onnx"
        result = export(network, path, heads="boxes", dynamic="batch", **options)
        description = describe_onnx(path)
        (staging / _LABELS).write_text("".join(f"{label}\n" for label in description.labels), "utf-8")
        source = resources.files(__package__).joinpath(f"{_PARSER}.cpp").read_text("utf-8")
        (staging / f"{_PARSER}.cpp").write_text(source, "utf-8")
        (staging / _CONFIG).write_text(nvinfer_config(description, path.name, max_batch or 1), "utf-8")
    return dataclasses.replace(result, path=str(target / path.name))


def nvinfer_config(model: OnnxDescription, onnx_file: str, batch: int) -> str:
    """Return the text of the configuration.

    Args:
        model: A detector with ``boxes`` and ``scores`` as outputs.
        onnx_file: Its file, in the folder of the configuration.
        batch: Frames of a batch.
    """
    metadata = model.metadata
    channels, height, width = model.inputs["input"][1:]
    is_letterboxed = int(metadata["resize"] == "letterbox")
    is_half = metadata["fp16"] == "true"
    nms = float(metadata["nms"])
    properties: dict[str, object] = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "process-mode": 1,
        "network-type": 0,
        "network-mode": _FP16 if is_half else _FP32,
        "onnx-file": onnx_file,
        "model-engine-file": f"{onnx_file}_b{batch}_gpu0_{'fp16' if is_half else 'fp32'}.engine",
        "labelfile-path": _LABELS,
        "num-detected-classes": model.classes,
        "batch-size": batch,
        "interval": 0,
        "infer-dims": f"{channels};{height};{width}",
        "net-scale-factor": 1 / 255,
        "model-color-format": _COLOUR_FORMATS[channels or 0],
        "maintain-aspect-ratio": is_letterboxed,
        "symmetric-padding": is_letterboxed,
        "output-blob-names": ";".join(model.outputs),
        "parse-bbox-func-name": _FUNCTION,
        "custom-lib-path": f"lib{_PARSER}.so",
        "cluster-mode": _NMS if nms else _NO_CLUSTERING,
    }
    attributes: dict[str, object] = {"pre-cluster-threshold": float(metadata["threshold"])}
    if nms:
        attributes["nms-iou-threshold"] = nms
    lines = [f"# {metadata['producer']}. Compile {_PARSER}.cpp first: its first lines say how."]
    for group, values in (("property", properties), ("class-attrs-all", attributes)):
        lines += [f"[{group}]", *(f"{key}={value}" for key, value in values.items()), ""]
    return "\n".join(lines)
