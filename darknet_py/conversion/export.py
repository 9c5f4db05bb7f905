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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..activations import Activation
from ..boxes import Candidates, suppress
from ..cfg import Path
from ..detect import Names, read_names
from ..errors import DarknetError
from ..network import Network
from .onnx_model import OPSET, metadata, to_onnx
from .program import Heads, Program, stride, trace

_LIMIT = 2**31 - 2**20  # what protobuf takes in one piece, less the metadata's room
_MANY = 5000  # boxes and classes whose suppression takes long
_TOLERANCE = {False: 1e-4, True: 5e-2}  # of float32 and float16, relative to the rms of an output
Array = npt.NDArray[np.float32]
Run = Callable[[list[Array]], list[Array]]
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
    path: Path,
    *,
    heads: Heads | str = Heads.RAW,
    dynamic: bool | str = False,
    opset: int = OPSET,
    fp16: bool = False,
    names: Names = None,
    letterbox: bool | None = None,
    threshold: float = 0.25,
    nms: float = 0.45,
) -> Exported:
    """Write ``path`` (.onnx, .pt2 or .xml), whole or not at all, and say how well it agrees.

    ``heads``: ``raw``, ``boxes`` or ``nms`` (ONNX and OpenVINO), see ``program.Heads``. ``dynamic``:
    ``"batch"``, ``"size"`` or True for both. ``opset``: of ONNX. ``fp16``: weights and layers in float16.
    ``names``: a file or sequence of class names, ``letterbox``: how pictures are brought to the input
    (None: as the cfg says), ``threshold``, ``nms``: noted in the file. Raises DarknetError, also where
    the file's own runtime gives other numbers than PyTorch.
    """
    target, kind = pathlib.Path(path), Heads(heads)
    known: Sequence[str] = ()
    if names is not None:
        known = read_names(names, network.heads[-1].classes if network.heads else 0, exact=bool(network.heads))
    write = {".onnx": _onnx, ".pt2": _pt2, ".xml": _openvino}.get(target.suffix.lower())
    if write is None:
        raise DarknetError(f"{target}: expected a name that ends in .onnx, .pt2 or .xml (OpenVINO)")
    options: dict[str, Any] = {"dynamic": dynamic, "fp16": fp16, "names": known, "letterbox": letterbox}
    if write is not _pt2:
        options |= {"opset": opset, "threshold": threshold, "nms": nms}
    elif kind is Heads.NMS:
        raise DarknetError(f"{target}: heads=nms is a graph of ONNX: expected heads=raw or boxes for a .pt2")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        beside = pathlib.Path(folder, target.name)
        runtime, runs = write(network, beside, kind, options)
        found = [check(network, run, what, dynamic, fp16, threshold=threshold, nms=nms) for what, run in runs.items()]
        for file in sorted(pathlib.Path(folder).iterdir(), reverse=True):
            os.replace(file, target.parent / file.name)
    if not found:
        return Exported(str(target))
    return Exported(str(target), runtime, max(f.difference for f in found), max(f.relative for f in found))


def check(
    network: Network,
    run: Run,
    heads: Heads = Heads.RAW,
    dynamic: bool | str = False,
    fp16: bool = False,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
) -> Exported:
    """Compare what ``run`` gives with the network on noise, for more than one size where sizes are open.

    Noise on which a network finds thousands of boxes (random weights do) is left out with ``heads="nms"``;
    a difference of a network with binary inputs (``xnor``) is told but not judged.
    Raises DarknetError where they differ by more than rounding.
    """
    program = Program(network, Heads.BOXES if heads is Heads.NMS else heads)
    worst, relative = 0.0, 0.0
    jumps = any(_jumps(layer.options) for layer in network)
    for x, states in _inputs(program, dynamic):
        with torch.inference_mode():
            wanted = program(x, *states)
        if heads is Heads.NMS:
            if (wanted[1] > threshold).sum() > _MANY:
                continue
            rows = _detections(wanted[0], wanted[1], threshold, nms, network)
            wanted = (rows, *wanted[2:])
        try:
            given = run([tensor.numpy() for tensor in (x, *states)])
        except Exception as error:  # each runtime has classes of its own
            cause = " ".join(str(error).split())[:200]
            raise DarknetError(f"does not run on an input of {tuple(x.shape)} ({cause})") from error
        if len(given) != len(wanted):
            raise DarknetError(f"{len(given)} outputs, expected {len(wanted)}")
        for mine, theirs in zip(wanted, given, strict=True):
            if mine.shape != theirs.shape:
                if heads is Heads.NMS and (fp16 or jumps):  # a probability may fall to the other side of the threshold
                    continue
                raise DarknetError(f"gives {theirs.shape} where PyTorch gives {tuple(mine.shape)}")
            if mine.numel() == 0:
                continue
            if heads is Heads.NMS:
                theirs = _matched(mine.numpy(), theirs)
            with np.errstate(invalid="ignore"):  # inf - inf: sizes that overflow on both sides
                difference = np.nan_to_num(theirs.astype(np.float64) - mine.double().numpy(), posinf=0, neginf=0)
            worst = max(worst, float(np.abs(difference).max()))
            rms = max(float(mine.double().square().mean().sqrt()), 1e-12)
            relative = max(relative, float(np.sqrt(np.square(difference).mean())) / rms)
    if not (relative <= _TOLERANCE[fp16] or jumps):
        raise DarknetError(f"gives other numbers than PyTorch: by {worst:.1e}, {relative:.1e} of the rms")
    return Exported("", "", worst, relative)


def _jumps(options: object) -> bool:
    """Whether a layer makes steps of its input, so that rounding may change the outputs by any amount."""
    return bool(getattr(options, "xnor", False)) or getattr(options, "activation", None) is Activation.STAIR


def session(model: bytes | str, outputs: Sequence[str] | None = None) -> Run:
    """A function that runs an ONNX model (its bytes or file) in onnxruntime on the CPU.

    ``outputs``: those wanted; None: all. Raises DarknetError without the package.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DarknetError("needs the package onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = [value.name for value in made.get_inputs()]
    return lambda arrays: list(made.run(outputs, dict(zip(inputs, arrays, strict=True))))


def _inputs(program: Program, dynamic: bool | str) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    counts = (1, 3) if dynamic in (True, "batch") else (1,)
    inputs = [(program.example(count), program.start(count)) for count in counts]
    if dynamic in (True, "size"):
        step, x = stride(program.network), inputs[-1][0]
        larger = torch.nn.functional.pad(x, (0, step, 0, 2 * step), value=0.5)
        inputs.append((larger, program.start(len(x))))
    return inputs


def _detections(boxes: Tensor, scores: Tensor, threshold: float, nms: float, network: Network) -> Tensor:
    """Rows as ``heads="nms"`` gives them, in its order: by picture, class and probability."""
    rows = []
    for picture, (box, probs) in enumerate(zip(boxes, scores, strict=True)):
        found = Candidates(box, probs[:, 0], torch.where(probs > threshold, probs, 0))
        if nms:
            found = suppress(found, nms, network.heads[-1].suppression)
        for k in range(probs.shape[1]):
            kept = found.probs[:, k].nonzero().flatten()
            kept = kept[found.probs[kept, k].argsort(descending=True, stable=True)]
            numbers = box.new_tensor([[picture, k]]).expand(len(kept), 2)
            rows.append(torch.cat((numbers, found.probs[kept, k, None], box[kept]), dim=1))
    return torch.cat(rows)


def _matched(mine: Array, theirs: Array) -> Array:
    """The rows of ``theirs`` in the order of ``mine``: rounding may exchange rows of equal probability."""
    if mine.ndim != 2 or mine.shape[1] != 7:
        return theirs
    far = np.abs(mine[:, None] - theirs[None]) * ([1e6] * 2 + [1.0] * 5)
    rows: Array = theirs[far.sum(axis=2).argmin(axis=1)]
    return rows


def _onnx(network: Network, path: pathlib.Path, heads: Heads, options: dict[str, Any]) -> tuple[str, Runs]:
    model = to_onnx(network, heads=heads, **options)
    import onnx

    if model.ByteSize() > _LIMIT:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    else:
        path.write_bytes(model.SerializeToString())
    try:
        runs = {heads: session(str(path))}
    except DarknetError:
        return "", {}
    if heads is Heads.NMS:
        outputs = ["boxes", "scores", *(output.name for output in model.graph.output[1:])]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs[:2])
        runs[Heads.BOXES] = session(model.SerializeToString(), outputs)
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
        plain.write_bytes(to_onnx(network, heads=heads, **options | {"fp16": False}).SerializeToString())
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
