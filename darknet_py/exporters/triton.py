"""Export to a model repository of NVIDIA's Triton Inference Server, which runs the file in ONNX Runtime.

    DIR/NAME/config.pbtxt     the model's configuration
    DIR/NAME/labels.txt       class names, one a line
    DIR/NAME/1/model.onnx     version 1

The layout is that of https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md,
the fields those of ``ModelConfig`` in https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import Any

from .._typing import StrPath
from ..errors import DarknetError
from ..files import check_outputs
from ..network import Network
from ..postprocess import Heads
from .exporter import ExportResult, export
from .onnx.description import OnnxDescription, describe_onnx
from .staging import staging_folder

MAX_BATCH = 8
_LABELS = "labels.txt"


def export_triton(
    network: Network,
    repository: StrPath,
    name: str,
    *,
    heads: Heads | str | None = None,
    dynamic: bool | str = "batch",
    max_batch: int | None = None,
    **options: Any,
) -> ExportResult:
    """Write a network into a model repository of Triton, and verify its file as ``export`` does.

    Args:
        network: The network.
        repository: Folder of the repository; created if absent. Other models in it are kept.
        name: Name of the model: that of its folder.
        heads: What the model returns; None: ``boxes``, or the last layer's output if there is no detection head.
        dynamic: Dynamic dimensions, see ``export``. The batch is dynamic in any case.
        max_batch: Images of a batch at most, 1 or more; None: 8. Triton combines requests to such batches. Not for
            ``heads="nms"``, whose output has the rows of all images in one tensor: a request is a batch of its own.
        **options: Further options of ``export``.

    Returns:
        The result for the ONNX file.

    Raises:
        DarknetError: As ``export``, or ``name`` is not the name of a folder.
    """
    if name in ("", ".", "..") or set(name) & set('/\\"\n\0'):
        raise DarknetError(f"name: expected the name of a folder, got {name!r}")
    if max_batch is not None and max_batch < 1:
        raise DarknetError(f"max_batch: expected 1 or more, got {max_batch}")
    heads = Heads(heads or (Heads.BOXES if network.heads else Heads.RAW))
    if heads is Heads.NMS and max_batch is not None:
        raise DarknetError("max_batch: detections have no batch dimension: expected heads=boxes or raw, not nms")
    folder = pathlib.Path(repository, name)
    names = options.get("names")
    inputs = [network.config.path, names if isinstance(names, str | os.PathLike) else None]
    check_outputs([folder / "config.pbtxt", folder / _LABELS, folder / "1" / "model.onnx"], inputs)
    with staging_folder(folder) as staging:
        (staging / "1").mkdir()
        path = staging / "1" / "model.onnx"
        has_size = dynamic in (True, "size")
        result = export(network, path, heads=heads, dynamic=True if has_size else "batch", **options)
        description = describe_onnx(path)
        (staging / _LABELS).write_text("".join(f"{label}\n" for label in description.labels), "utf-8")
        batch = 0 if heads is Heads.NMS else max_batch or MAX_BATCH
        (staging / "config.pbtxt").write_text(model_config(description, batch), "utf-8")
    return dataclasses.replace(result, path=str(folder / "1" / "model.onnx"))


def model_config(model: OnnxDescription, max_batch: int) -> str:
    """Return the text of ``config.pbtxt``.

    Args:
        model: The model; all inputs and outputs are float32.
        max_batch: ``max_batch_size``; 0: shapes contain the batch, and Triton combines no requests.
    """
    skipped = 1 if max_batch else 0
    inputs = [_tensor(name, shape[skipped:]) for name, shape in model.inputs.items()]
    outputs = []
    for name, shape in model.outputs.items():
        lengths = [length or 0 for length in shape[skipped:]]
        is_classes = not model.classes and math.prod(lengths) == len(model.labels)
        outputs.append(_tensor(name, shape[skipped:], f'    label_filename: "{_LABELS}"\n' if is_classes else ""))
    separator = ",\n"
    lines = [
        f"# {model.metadata['producer']}. The name of the model is that of its folder.",
        f"# Input: {model.metadata['input']}; images are resized by: {model.metadata['resize']}.",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {max_batch}",
        f"input [\n{separator.join(inputs)}\n]",
        f"output [\n{separator.join(outputs)}\n]",
    ]
    if max_batch:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _tensor(name: str, shape: tuple[int | None, ...], further: str = "") -> str:
    dims = ", ".join(str(-1 if length is None else length) for length in shape)
    return f'  {{\n    name: "{name}"\n    data_type: TYPE_FP32\n    dims: [ {dims} ]\n{further}  }}'
