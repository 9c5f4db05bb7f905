"""Whether an exported file gives the network's numbers: both run on the same noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..activations import Activation
from ..errors import DarknetError
from ..network import Network
from ..postprocess import apply_nms, from_scores
from .traceable import Heads, Program, stride

_MANY = 5000  # boxes and classes whose suppression takes long
_TRIES = 8  # inputs of a binary network, one of which has to flip no sign
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
    batches: Sequence[int] = (1, 3),
) -> Difference:
    """Compare what ``run`` gives with the network on noise, for more than one size where sizes are open.

    Noise on which a network finds thousands of boxes (random weights do) is left out with ``heads="nms"``.
    Rounding flips a sign now and then where a network is binary (``xnor``), and then all its outputs move,
    in PyTorch by itself too: there the best of ``_TRIES`` inputs counts. ``batches``: where the batch is open.
    Raises DarknetError where they differ by more than rounding.
    """
    program = Program(network, Heads.BOXES if heads is Heads.NMS else heads, threshold=threshold)
    jumps = any(_jumps(layer.options) for layer in network)

    def difference(x: Tensor, states: tuple[Tensor, ...]) -> Difference:
        with torch.inference_mode():
            wanted = program(x, *states)
        if heads is Heads.NMS:
            if (wanted[1] > threshold).sum() > _MANY:
                return Difference(0.0, 0.0)
            rows = _detections(wanted[0], wanted[1], threshold, nms, network)
            wanted = (rows, *wanted[2:])
        try:
            given = run([tensor.numpy() for tensor in (x, *states)])
        except Exception as error:  # each runtime has classes of its own
            cause = " ".join(str(error).split())[:200]
            raise DarknetError(f"does not run on an input of {tuple(x.shape)} ({cause})") from error
        if len(given) != len(wanted):
            raise DarknetError(f"{len(given)} outputs, expected {len(wanted)}")
        # A probability may fall to the other side of the threshold.
        free = heads is Heads.NMS and (fp16 or jumps)
        pairs = zip(wanted, given, strict=True)
        return _worst([_apart(mine, theirs, rows=heads is Heads.NMS, free=free) for mine, theirs in pairs])

    found = []
    for x, states in _inputs(program, dynamic, batches):
        tries = [difference(x, states)]
        while jumps and tries[-1].relative > _TOLERANCE[fp16] and len(tries) < _TRIES:
            tries.append(difference(x.roll(len(tries), dims=-1), states))
        found.append(min(tries, key=lambda one: one.relative))
    worst = _worst(found)
    if not (worst.relative <= _TOLERANCE[fp16] or jumps):
        raise DarknetError(f"gives other numbers than PyTorch: by {worst.largest:.1e}, {worst.relative:.1e} of the rms")
    return worst


def _worst(found: Sequence[Difference]) -> Difference:
    return Difference(max((f.largest for f in found), default=0.0), max((f.relative for f in found), default=0.0))


def _apart(mine: Tensor, theirs: Array, *, rows: bool, free: bool) -> Difference:
    """How far one output is from PyTorch's; ``rows``: detections, ``free``: whose number may differ."""
    if mine.shape != theirs.shape and not free:
        raise DarknetError(f"gives {theirs.shape} where PyTorch gives {tuple(mine.shape)}")
    if mine.shape != theirs.shape or mine.numel() == 0:
        return Difference(0.0, 0.0)
    if rows:
        theirs = _matched(mine.numpy(), theirs)
    return _difference(mine.double().numpy(), theirs.astype(np.float64))


def _difference(mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> Difference:
    """The largest, and the rms over that of ``mine``; what overflows or is no number does so on both sides."""
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    if not (np.isfinite(mine) & np.isfinite(theirs) | same).all():
        return Difference(math.inf, math.inf)
    difference = np.zeros_like(mine)
    difference[~same] = theirs[~same] - mine[~same]
    finite = mine[np.isfinite(mine)]
    rms = float(np.sqrt(np.square(finite).mean())) if finite.size else 0.0
    share = float(np.sqrt(np.square(difference).mean())) / max(rms, 1e-12)
    return Difference(float(np.abs(difference).max()), share)


def _jumps(options: object) -> bool:
    """Whether a layer makes steps of its input, so that rounding may change the outputs by any amount."""
    return bool(getattr(options, "xnor", False)) or getattr(options, "activation", None) is Activation.STAIR


def runner(session: Any) -> Run:
    """Return a function that runs an ONNX Runtime session: inputs and outputs in the order of the model."""
    inputs = [value.name for value in session.get_inputs()]
    return lambda arrays: list(session.run(None, dict(zip(inputs, arrays, strict=True))))


def _inputs(program: Program, dynamic: bool | str, batches: Sequence[int]) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    counts = batches if dynamic in (True, "batch") else (1,)
    inputs = [(program.example(count), program.start(count)) for count in counts]
    if dynamic in (True, "size"):
        step, x = stride(program.network), inputs[-1][0]
        larger = torch.nn.functional.pad(x, (0, step, 0, 2 * step), value=0.5)
        inputs.append((larger, program.start(len(x))))
    return inputs


def _detections(boxes: Tensor, scores: Tensor, threshold: float, nms: float, network: Network) -> Tensor:
    """Rows as ``heads="nms"`` gives them, in its order: by image, class and probability."""
    rows = []
    for image, (box, probs) in enumerate(zip(boxes, scores, strict=True)):
        found = apply_nms(from_scores(box, probs, threshold), nms, network.heads[-1].nms_options)
        for k in range(probs.shape[1]):
            kept = found.probs[:, k].nonzero().flatten()
            kept = kept[found.probs[kept, k].argsort(descending=True, stable=True)]
            numbers = box.new_tensor([[image, k]]).expand(len(kept), 2)
            rows.append(torch.cat((numbers, found.probs[kept, k, None], box[kept]), dim=1))
    return torch.cat(rows)


def _matched(mine: Array, theirs: Array) -> Array:
    """The rows of ``theirs`` in the order of ``mine``: rounding may exchange rows of equal probability."""
    if mine.ndim != 2 or mine.shape[1] != 7:
        return theirs
    far = np.abs(mine[:, None] - theirs[None]) * ([1e6] * 2 + [1.0] * 5)
    rows: Array = theirs[far.sum(axis=2).argmin(axis=1)]
    return rows
