"""Export a network to a file for another runtime, and verify the file against PyTorch.

The suffix selects the format: .onnx, .pt2 (torch.export, for ``torch.export.load``), .xml (OpenVINO IR with a .bin
file), .param (ncnn, with a .bin and a .json file), .tflite (LiteRT) or .mlpackage (Core ML, a folder). The file's own
runtime, if it is installed, runs it, and the outputs are compared with the network's. Core ML runs on macOS only, so
its program is evaluated by PyTorch.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import weights
from .._typing import StrPath
from ..data.class_names import ClassNames, resolve_class_names, selected_classes
from ..errors import DarknetError
from ..files import check_outputs, replace, temporary_folder
from ..network import Network, evaluating, unwrap
from ..postprocess import Heads, require_heads
from ..runtimes.litert_models import LiteRTModel, is_litert_installed
from ..runtimes.ncnn_models import NcnnModel, is_ncnn_installed
from ..runtimes.onnxruntime_models import OnnxModel, is_onnxruntime_installed
from ..runtimes.openvino_models import RT_INFO, OpenVINOModel, get_core, import_openvino
from ..runtimes.pt2_models import METADATA, Pt2Model
from . import metadata
from .coreml_conversion import NOT_RUN, evaluate_package, replace_package, write_coreml
from .ncnn_conversion import write_ncnn
from .onnx import nms_nodes
from .onnx.model import OPSET, to_onnx, write_onnx
from .tflite_conversion import write_tflite
from .traceable import TraceableNetwork, trace
from .verify import Runner, verify_outputs, worst

_Runners = dict[Heads, Runner]  # by the outputs that they return


@dataclass(frozen=True)
class ExportResult:
    """The file that ``export`` wrote, and how far its outputs are from PyTorch's.

    Attributes:
        path: The file.
        runtime: Name of the file's runtime; empty if it is not installed.
        max_abs_difference: Largest absolute difference of an output; NaN if not verified.
        relative_rms: RMS of the difference over the RMS of the output, the largest of all outputs; NaN if not verified.
        box_pixels: Largest difference of the position or size of a box in pixels of the input; NaN if none is compared.
    """

    path: str
    runtime: str = ""
    max_abs_difference: float = float("nan")
    relative_rms: float = float("nan")
    box_pixels: float = float("nan")

    def __str__(self) -> str:
        if math.isnan(self.max_abs_difference):
            cause = "the weights contain NaN or Inf" if self.runtime else "its runtime is not installed"
            return f"{self.path}: not verified, {cause}"
        difference = f"max abs difference {self.max_abs_difference:.1e}"
        boxes = "" if math.isnan(self.box_pixels) else f"; boxes differ by at most {self.box_pixels:.1e} pixels"
        return (
            f"{self.path}: verified with {self.runtime}: {difference}, {self.relative_rms:.1e} relative to the "
            f"RMS{boxes}"
        )


def export(
    network: nn.Module,
    path: StrPath,
    *,
    heads: Heads | str = Heads.RAW,
    dynamic: bool | str = False,
    opset: int = OPSET,
    fp16: bool = False,
    names: ClassNames = None,
    letterbox: bool | None = None,
    threshold: float = 0.25,
    nms: float = 0.45,
    classes: Iterable[str | int] | None = None,
    skip_classes: Iterable[str | int] = (),
    allow_non_finite: bool = False,
) -> ExportResult:
    """Export a network to ONNX, torch.export, OpenVINO, ncnn, LiteRT or Core ML and verify the file.

    Args:
        network: The network, see ``network.unwrap``; it is not changed.
        path: The file to write: .onnx, .pt2, .xml, .param, .tflite or .mlpackage (a folder). It is written completely
            or not at all.
        heads: What the file returns: ``raw``, ``boxes`` or ``nms`` (ONNX and OpenVINO only), see ``Heads``.
        dynamic: Dynamic dimensions of the input: ``"batch"``, ``"size"`` (height and width), True for both, or False.
            ncnn, LiteRT and Core ML have none.
        opset: ONNX opset, 11 or later; below 18 for networks with operators of that opset only.
        fp16: Store weights and compute layers in float16; inputs and outputs stay float32. Not for ncnn
            and LiteRT.
        names: Class names for the metadata: a file with one name a line, or a sequence; None: the network's own.
        letterbox: For the metadata: whether images are letterboxed; None: by the cfg and dialect.
        threshold: Score threshold, 0..1: constant of the graph with ``heads="nms"``, else metadata.
        nms: IoU threshold of NMS, 0..1, 0 disables it: constant of the graph with ``heads="nms"``, else metadata.
        classes: With ``heads="nms"``, the classes to report, by name or number; None: all. Rows keep the network's
            class numbers.
        skip_classes: With ``heads="nms"``, classes not to report.
        allow_non_finite: Export weights that contain NaN or Inf, too; such a file is not verified.

    Raises:
        WeightsError: The weights contain NaN or Inf.
        DarknetError: The network cannot be exported, or the file's outputs differ from PyTorch's by more than rounding.
    """
    network = unwrap(network)
    weights.warn_of_random_weights(network)
    target = pathlib.Path(path)
    if not allow_non_finite:
        advice = "allow_non_finite=True, --allow-non-finite: export them, without verification"
        weights.require_finite(weights.stored(network), network.config.path, advice)
    is_finite = not allow_non_finite or not weights.count_non_finite(weights.stored(network))
    heads = Heads(heads)
    check_outputs([target], [network.config.path, names if isinstance(names, str | os.PathLike) else None])
    class_names: Sequence[str] = ()
    if names is not None:
        count = network.heads[-1].classes if network.heads else 0
        class_names = resolve_class_names(names, count, exact=bool(network.heads))
    numbers = None
    if classes is not None or skip_classes:
        if heads is not Heads.NMS:
            raise DarknetError(f"classes: heads={heads} returns the scores of all classes: expected heads=nms")
        known = class_names or resolve_class_names(network.names or None, require_heads(network)[-1].classes)
        numbers = sorted(selected_classes(classes, skip_classes, known))
        if not numbers:
            raise DarknetError("classes: expected one class or more")
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise DarknetError(f"{target}: expected a name that ends in {_NAMES}")
    if not target.parent.is_dir():
        raise DarknetError(f"{target}: there is no folder {target.parent}")
    if heads is Heads.NMS and writer not in (_write_onnx, _write_openvino):
        raise DarknetError(f"{target}: heads=nms needs ONNX or OpenVINO: expected heads=raw or boxes for this format")
    options: dict[str, Any] = {"dynamic": dynamic, "fp16": fp16, "names": class_names, "letterbox": letterbox}
    options |= {"opset": opset, "threshold": threshold, "nms": nms, "classes": numbers}
    try:
        with temporary_folder(target.parent) as folder, evaluating(network):
            runtime, runners = writer(network, folder / target.name, heads, options)
            differences = [
                verify_outputs(network, run, output, dynamic, fp16, threshold=threshold, nms=nms, classes=numbers)
                for output, run in runners.items()
                if is_finite
            ]
            for file in sorted(folder.iterdir(), reverse=True):
                (replace_package if file.is_dir() else replace)(file, target.parent / file.name)
    except OSError as error:
        raise DarknetError(f"{target}: {error.strerror or error}") from error
    if not differences:
        return ExportResult(str(target), runtime)
    return ExportResult(str(target), runtime, *worst(differences))


def _write_onnx(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, _Runners]:
    model = to_onnx(network, heads=heads, **options)
    is_one_file = write_onnx(model, path)
    if not is_onnxruntime_installed():
        return "", {}
    runners: dict[Heads, Runner] = {heads: OnnxModel(path).run}
    if heads is Heads.NMS and is_one_file:  # NMS of too many candidates is skipped: verify the boxes as well
        nms_nodes.remove_nms(model)
        runners[Heads.BOXES] = OnnxModel(model.SerializeToString()).run
    return OnnxModel.runtime, runners


def _write_pt2(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, _Runners]:
    module = TraceableNetwork(network, heads, half=options["fp16"])
    program = trace(module, options.pop("dynamic"))
    del options["opset"]
    entries = metadata.describe(network, heads=heads, outputs=module.output_names, **options)
    archive = io.BytesIO()  # on a full disk PyTorch's own writer ends the process
    torch.export.save(program, archive, extra_files={METADATA: json.dumps(entries)})
    path.write_bytes(archive.getbuffer())
    return Pt2Model.runtime, {heads: Pt2Model(path).run}


def _write_openvino(
    network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]
) -> tuple[str, _Runners]:
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise DarknetError(
            "export to OpenVINO needs the package openvino: pip install 'darknet-torch[openvino]'"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        onnx_path = pathlib.Path(folder, "network.onnx")
        onnx_model = to_onnx(network, heads=heads, **options | {"fp16": False})
        entries = {prop.key: prop.value for prop in onnx_model.metadata_props}
        write_onnx(onnx_model, onnx_path)
        model = get_core().read_model(onnx_path)
        for key, value in (entries | {"fp16": str(options["fp16"]).lower()}).items():
            model.set_rt_info(value, [RT_INFO, key])
        try:
            openvino.save_model(model, path, compress_to_fp16=options["fp16"])
        except RuntimeError as error:
            raise DarknetError(f"{path.name}: OpenVINO cannot write it, is the disk full? {error}") from error
        del model  # it keeps the file mapped into memory
        shutil.rmtree(folder, ignore_errors=True)
    return OpenVINOModel.runtime, {heads: OpenVINOModel(path).run}


def _write_ncnn(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, _Runners]:
    if options["fp16"] or options["dynamic"]:
        raise DarknetError(f"{path.name}: ncnn files are float32 and of fixed size: expected no fp16 and no dynamic")
    write_ncnn(network, path, heads, options)
    return (NcnnModel.runtime, {heads: NcnnModel(path).run}) if is_ncnn_installed() else ("", {})


def _write_tflite(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, _Runners]:
    write_tflite(network, path, heads, options)
    return (LiteRTModel.runtime, {heads: LiteRTModel(path).run}) if is_litert_installed() else ("", {})


def _write_coreml(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, _Runners]:
    write_coreml(network, path, heads, options)
    return NOT_RUN, {heads: functools.partial(evaluate_package, path)}


_WRITERS = {
    ".onnx": _write_onnx,
    ".pt2": _write_pt2,
    ".xml": _write_openvino,
    ".param": _write_ncnn,
    ".tflite": _write_tflite,
    ".mlpackage": _write_coreml,
}
_NAMES = ".onnx, .pt2, .xml (OpenVINO), .ncnn.param, .tflite or .mlpackage (Core ML)"
