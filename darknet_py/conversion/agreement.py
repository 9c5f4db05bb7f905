"""Whether an exported file gives the network's numbers: both run on the same noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..activations import Activation
from ..boxes import Candidates, suppress
from ..errors import DarknetError
from ..network import Network
from .program import Heads, Program, stride

_MANY = 5000  # boxes and classes whose suppression takes long
_TOLERANCE = {False: 1e-3, True: 5e-2}  # of float32 and float16: more than rounding through many layers makes
Array = npt.NDArray[np.float32]
Run = Callable[[list[Array]], list[Array]]


class Difference(NamedTuple):
    """The largest absolute difference of an output, and the largest rms of the difference over the output's."""

    largest: float
    relative: float


def check(
    network: Network,
    run: Run,
    heads: Heads = Heads.RAW,
    dynamic: bool | str = False,
    fp16: bool = False,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
) -> Difference:
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
            largest, share = _difference(mine.double().numpy(), theirs.astype(np.float64))
            worst, relative = max(worst, largest), max(relative, share)
    if not (relative <= _TOLERANCE[fp16] or jumps):
        raise DarknetError(f"gives other numbers than PyTorch: by {worst:.1e}, {relative:.1e} of the rms")
    return Difference(worst, relative)


def _difference(mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The largest, and the rms over that of ``mine``; what overflows or is no number does so on both sides."""
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    if not (np.isfinite(mine) & np.isfinite(theirs) | same).all():
        return math.inf, math.inf
    difference = np.zeros_like(mine)
    difference[~same] = theirs[~same] - mine[~same]
    finite = mine[np.isfinite(mine)]
    rms = float(np.sqrt(np.square(finite).mean())) if finite.size else 0.0
    return float(np.abs(difference).max()), float(np.sqrt(np.square(difference).mean())) / max(rms, 1e-12)


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
