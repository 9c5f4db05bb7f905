"""``export``: a network as a file for other runtimes, checked against the network before it is kept.

The suffix says the kind: .onnx, .pt2 (torch.export, for ``torch.export.load``) or .xml (OpenVINO IR, with
the .bin beside it). Whatever is written has been run on noise by its own runtime, where that is installed,
and compared with PyTorch.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .._typing import StrPath
from ..data.class_names import ClassNames, resolve_class_names
from ..errors import DarknetError
from ..network import Network
from .onnx import nms_nodes
from .onnx.model import OPSET, metadata, to_onnx, write_onnx
from .onnx.session import create_session
from .traceable import Heads, Program, trace
from .verify import Array, Run, check, runner

Runs = dict[Heads, Run]  # what to check, each with the function that gives it


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from the network in PyTorch.

    ``difference``: the largest absolute difference of an output; ``relative``: the largest rms of the
    difference over the rms of an output; both NaN where the file's runtime is not installed.
    """

    path: str
    runtime: str = "not checked"
    difference: float = float("nan")
    relative: float = float("nan")

    def __str__(self) -> str:
        if self.runtime == "not checked":
            return f"{self.path}: not checked, its runtime is not installed"
        return f"{self.path}: {self.runtime} differs by at most {self.difference:.1e} ({self.relative:.1e} of the rms)"


def export(
    network: Network,
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
) -> Exported:
    """Write ``path`` (.onnx, .pt2 or .xml), whole or not at all, and say how well it agrees.

    ``heads``: ``raw``, ``boxes`` or ``nms`` (ONNX and OpenVINO), see ``program.Heads``. ``dynamic``:
    ``"batch"``, ``"size"`` or True for both. ``opset``: of ONNX. ``fp16``: weights and layers in float16.
    ``names``: a file or sequence of class names, ``letterbox``: how images are brought to the input
    (None: as the cfg says), ``threshold``, ``nms``: noted in the file. Raises DarknetError, also where
    the file's own runtime gives other numbers than PyTorch.
    """
    target, kind = pathlib.Path(path), Heads(heads)
    known: Sequence[str] = ()
    if names is not None:
        known = resolve_class_names(names, network.heads[-1].classes if network.heads else 0, exact=bool(network.heads))
    writer = {".onnx": _onnx, ".pt2": _pt2, ".xml": _openvino}.get(target.suffix.lower())
    if writer is None:
        raise DarknetError(f"{target}: expected a name that ends in .onnx, .pt2 or .xml (OpenVINO)")
    if not target.parent.is_dir():
        raise DarknetError(f"{target}: there is no folder {target.parent}")
    options: dict[str, Any] = {"dynamic": dynamic, "fp16": fp16, "names": known, "letterbox": letterbox}
    if writer is not _pt2:
        options |= {"opset": opset, "threshold": threshold, "nms": nms}
    elif kind is Heads.NMS:
        raise DarknetError(f"{target}: heads=nms is a graph of ONNX: expected heads=raw or boxes for a .pt2")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        beside = pathlib.Path(folder, target.name)
        runtime, runs = writer(network, beside, kind, options)
        found = [check(network, run, what, dynamic, fp16, threshold=threshold, nms=nms) for what, run in runs.items()]
        for file in sorted(pathlib.Path(folder).iterdir(), reverse=True):
            os.replace(file, target.parent / file.name)
    if not found:
        return Exported(str(target))
    return Exported(str(target), runtime, max(f.largest for f in found), max(f.relative for f in found))


def _onnx(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, Runs]:
    model = to_onnx(network, heads=heads, **options)
    whole = write_onnx(model, path)
    try:
        runs = {heads: runner(create_session(path))}
    except DarknetError:
        return "", {}
    if heads is Heads.NMS and whole:
        nms_nodes.remove(model)
        runs[Heads.BOXES] = runner(create_session(model.SerializeToString()))
    return "onnxruntime", runs


def _pt2(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, Runs]:
    program = Program(network, heads, half=options["fp16"])
    made = trace(program, options["dynamic"])
    notes = metadata(network, names=options["names"], letterbox=options["letterbox"]) | {"heads": str(heads)}
    torch.export.save(made, path, extra_files={f"{key}.txt": value for key, value in notes.items()})
    loaded = torch.export.load(path).module()

    def run(arrays: list[Array]) -> list[Array]:
        return [output.detach().numpy() for output in loaded(*map(torch.from_numpy, arrays))]

    return "torch.export", {heads: run}


def _openvino(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, Runs]:
    try:
        import openvino
    except ImportError as error:
        raise DarknetError("OpenVINO IR needs the package openvino: pip install openvino") from error
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder, "network.onnx")
        write_onnx(to_onnx(network, heads=heads, **options | {"fp16": False}), plain)
        model = openvino.convert_model(plain)
        for key, value in metadata(network, names=options["names"], letterbox=options["letterbox"]).items():
            model.set_rt_info(value, ["darknet_py", key])
        openvino.save_model(model, path, compress_to_fp16=options["fp16"])
        del model
        shutil.rmtree(folder, ignore_errors=True)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(arrays: list[Array]) -> list[Array]:
        return list(compiled(arrays).values())

    return "OpenVINO", {heads: run}
