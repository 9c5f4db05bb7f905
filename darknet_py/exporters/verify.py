"""Verify an exported file: compare its runtime's outputs with PyTorch's on an input that resembles an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import starmap
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..activations import Activation
from ..errors import DarknetError, DataError
from ..layers import Layer
from ..network import Network
from ..postprocess import Heads, apply_nms, decode_dense, from_scores, nms_options
from ..runtimes.model import Array
from .traceable import TraceableNetwork, size_multiple

_MAX_CANDIDATES = 5000  # boxes and classes above the threshold; NMS of more takes too long
_DISCONTINUOUS_TRIES = 8  # inputs for a network with discontinuous layers; one of them must agree
_TOLERANCE = {False: 1e-3, True: 5e-2}  # of float32 and float16, relative to the RMS; rounding stays far below
_RANKED = 100  # boxes of highest score whose coordinates are compared whatever their score
_SCORE_FLOOR = 0.1  # RMS of scores that differences are at least relative to: runtimes round small scores to 1e-8 and 0
Runner = Callable[[list[Array]], list[Array]]  # inputs and states -> outputs and next states


class OutputDifference(NamedTuple):
    """The difference between two sets of outputs.

    Attributes:
        max_abs: Largest absolute difference.
        relative_rms: RMS of the difference over the RMS of the output; the largest of all outputs.
        box_pixels: Largest difference of the position or size of a box, in pixels of the input, of the boxes that are
            compared (see ``verify_outputs``); NaN where there are none.
    """

    max_abs: float
    relative_rms: float
    box_pixels: float = math.nan


def verify_outputs(
    network: Network,
    run: Runner,
    heads: Heads = Heads.RAW,
    dynamic: bool | str = False,
    fp16: bool = False,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
    batches: Sequence[int] = (1, 3),
    classes: Sequence[int] | None = None,
) -> OutputDifference:
    """Compare the outputs of an exported network with PyTorch's on an input that resembles an image.

    Scores are probabilities, compared by their absolute difference where all of them are small. The coordinates of
    boxes are compared where scores matter: above a tenth of ``threshold``, and those of the 100 highest scores.

    Networks with discontinuous layers (``xnor``, activation ``stair``) are compared on up to 8 inputs, and the smallest
    difference is returned: where rounding flips a sign, every later value changes, in PyTorch itself as well.

    Args:
        network: The network that was exported.
        run: Runs the exported file.
        heads: What the file returns. With ``Heads.NMS``, inputs with thousands of candidates (random weights) are
            skipped.
        dynamic: The dynamic dimensions of the file, see ``trace``; several sizes are compared.
        fp16: Whether the file computes in float16.
        threshold: Score threshold of the file.
        nms: IoU threshold of the file.
        batches: Batch sizes to compare, if the batch is dynamic.
        classes: With ``Heads.NMS``, numbers of the classes that the file reports; None: all.

    Raises:
        DarknetError: The file does not run, or its outputs differ by more than rounding.
    """
    module = TraceableNetwork(network, Heads.BOXES if heads is Heads.NMS else heads, threshold=threshold)
    discontinuous = any(_is_discontinuous(layer) for layer in network)

    def compare(x: Tensor, states: tuple[Tensor, ...]) -> OutputDifference:
        with torch.inference_mode():
            expected = module(x, *states)
        if heads is Heads.NMS:
            scores = expected[1]
            if classes is not None:
                scores = torch.zeros_like(scores).index_copy(2, torch.tensor(classes), scores[..., list(classes)])
            if (scores > threshold).sum() > _MAX_CANDIDATES:
                return OutputDifference(0.0, 0.0)
            expected = (_detection_rows(expected[0], scores, threshold, nms, network), *expected[2:])
        try:
            outputs = run([tensor.numpy() for tensor in (x, *states)])
        except Exception as error:  # the runtimes' exceptions have no common base class
            cause = " ".join(str(error).split())[:200]
            raise DarknetError(f"does not run on an input of shape {tuple(x.shape)} ({cause})") from error
        if len(outputs) != len(expected):
            raise DarknetError(f"{len(outputs)} outputs: expected {len(expected)}")
        # With rounding of float16 a score may cross the threshold.
        any_count = heads is Heads.NMS and (fp16 or discontinuous)
        pairs = list(zip(expected, outputs, strict=True))
        size = (x.shape[3], x.shape[2]) if x.dim() == 4 else (1, 1)
        if heads is Heads.BOXES:
            boxes = _compare_boxes(*pairs[0], *pairs[1], threshold)._replace(
                box_pixels=_box_pixels(expected[0], torch.from_numpy(outputs[0]), expected[1], size, threshold)
            )
            return worst([boxes, *starmap(_compare_output, pairs[2:])])
        differences = [_compare_output(y, output, heads is Heads.NMS, any_count) for y, output in pairs]
        if heads is Heads.RAW and network.heads:
            maps = expected[: len(network.heads)], [torch.from_numpy(y) for y in outputs[: len(network.heads)]]
            differences.append(OutputDifference(0.0, 0.0, _decoded_pixels(module.network, *maps, size, threshold)))
        return worst(differences)

    differences = []
    for x, states in _make_inputs(module, dynamic, batches):
        tries = [compare(x, states)]
        while discontinuous and tries[-1].relative_rms > _TOLERANCE[fp16] and len(tries) < _DISCONTINUOUS_TRIES:
            tries.append(compare(x.roll(len(tries), dims=-1), states))
        differences.append(min(tries, key=lambda difference: difference.relative_rms))
    largest = worst(differences)
    if not (largest.relative_rms <= _TOLERANCE[fp16] or discontinuous):
        raise DarknetError(
            f"outputs differ from PyTorch: max abs difference {largest.max_abs:.1e}, "
            f"{largest.relative_rms:.1e} relative to the RMS"
        )
    return largest


def worst(differences: Sequence[OutputDifference]) -> OutputDifference:
    """Return the largest of each kind of difference."""
    return OutputDifference(
        max((difference.max_abs for difference in differences), default=0.0),
        max((difference.relative_rms for difference in differences), default=0.0),
        max((d.box_pixels for d in differences if not math.isnan(d.box_pixels)), default=math.nan),
    )


def _decoded_pixels(
    network: Network, expected: Sequence[Tensor], outputs: Sequence[Tensor], size: tuple[int, int], threshold: float
) -> float:
    """Return the largest difference of a box in pixels, of boxes decoded from the outputs of the heads."""
    try:
        with torch.inference_mode():
            pairs = zip(
                decode_dense(network, expected, size, threshold),
                decode_dense(network, outputs, size, threshold),
                strict=True,
            )
            return max(_box_pixels(boxes, other, scores, size, threshold) for (boxes, scores), (other, _) in pairs)
    except DataError:  # a head whose boxes cannot be decoded without a threshold: its outputs were compared
        return math.nan


def _box_pixels(boxes: Tensor, other: Tensor, scores: Tensor, size: tuple[int, int], threshold: float) -> float:
    """Return the largest difference of a box whose score matters, in pixels of the input.

    Numbers beyond the input, which random weights give, differ relative to themselves: 1 is the size of the input.
    """
    rows = _relevant_rows(scores, threshold)
    scale = boxes.new_tensor(size).repeat(2) / boxes[rows].abs().clamp(min=1)
    return float(((boxes - other)[rows].abs() * scale).amax()) if bool(rows.any()) else math.nan


def _relevant_rows(scores: Tensor, threshold: float) -> Tensor:
    """Return which boxes are compared, bool [batch, n]: those above a tenth of the threshold, and the best 100."""
    best = scores.amax(dim=2)
    ranked = best.topk(min(_RANKED, best.shape[1])).values[:, -1:]
    return best >= ranked.clamp(max=threshold / 10)


def _compare_boxes(
    boxes: Tensor, boxes_output: Array, scores: Tensor, scores_output: Array, threshold: float
) -> OutputDifference:
    """Compare the outputs ``boxes`` and ``scores``, see ``verify_outputs``."""
    for expected, output in ((boxes, boxes_output), (scores, scores_output)):
        if expected.shape != output.shape:
            raise DarknetError(f"output of shape {output.shape}: expected {tuple(expected.shape)}, as in PyTorch")
    rows = _relevant_rows(scores, threshold)
    return worst(
        [
            _difference(boxes[rows].double().numpy(), boxes_output[rows.numpy()].astype(np.float64)),
            _difference(scores.double().numpy(), scores_output.astype(np.float64), _SCORE_FLOOR),
        ]
    )


def _compare_output(
    expected: Tensor, output: Array, is_rows: bool = False, any_count: bool = False
) -> OutputDifference:
    """Compare one output; ``is_rows``: it holds detections; ``any_count``: their number may differ."""
    if expected.shape != output.shape and not any_count:
        raise DarknetError(f"output of shape {output.shape}: expected {tuple(expected.shape)}, as in PyTorch")
    if expected.shape != output.shape or expected.numel() == 0:
        return OutputDifference(0.0, 0.0)
    if is_rows:
        output = _reorder_rows(expected.numpy(), output)
    return _difference(expected.double().numpy(), output.astype(np.float64))


def _difference(
    expected: npt.NDArray[np.float64], output: npt.NDArray[np.float64], floor: float = 1e-12
) -> OutputDifference:
    """The difference of two arrays, which must have Inf at the same indices; NaN differs from everything."""
    same = expected == output
    if not (np.isfinite(expected) & np.isfinite(output) | same).all():
        return OutputDifference(math.inf, math.inf)
    difference = np.zeros_like(expected)
    difference[~same] = output[~same] - expected[~same]
    finite = expected[np.isfinite(expected)]
    rms = float(np.sqrt(np.square(finite).mean())) if finite.size else 0.0
    relative_rms = float(np.sqrt(np.square(difference).mean())) / max(rms, floor)
    return OutputDifference(float(np.abs(difference).max()), relative_rms)


def _is_discontinuous(layer: Layer) -> bool:
    """Whether rounding of a layer's input may change its output by any amount."""
    return layer.is_binary or getattr(layer.options, "activation", None) is Activation.STAIR


def _make_inputs(
    module: TraceableNetwork, dynamic: bool | str, batches: Sequence[int]
) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Return inputs and states: one per batch size if the batch is dynamic, and a larger image if the size is."""
    counts = batches if dynamic in (True, "batch") else (1,)
    inputs = [(module.example_input(count), module.initial_state(count)) for count in counts]
    if dynamic in (True, "size"):
        step = size_multiple(module.network)
        x = inputs[-1][0]
        larger = torch.nn.functional.pad(x, (0, step, 0, 2 * step), value=0.5)
        inputs.append((larger, module.initial_state(len(x))))
    return inputs


def _detection_rows(boxes: Tensor, scores: Tensor, threshold: float, nms: float, network: Network) -> Tensor:
    """Return detections, float [n, 7], in the order of an exported file with ``Heads.NMS``: by image, class, score."""
    rows = []
    for image, (box, probs) in enumerate(zip(boxes, scores, strict=True)):
        detections = apply_nms(from_scores(box, probs, threshold), nms, nms_options(network))
        for k in range(probs.shape[1]):
            kept = detections.probs[:, k].nonzero().flatten()
            kept = kept[detections.probs[kept, k].argsort(descending=True, stable=True)]
            image_and_class = box.new_tensor([[image, k]]).expand(len(kept), 2)
            rows.append(torch.cat((image_and_class, detections.probs[kept, k, None], box[kept]), dim=1))
    return torch.cat(rows)


def _reorder_rows(expected: Array, rows: Array) -> Array:
    """Return ``rows`` in the order of ``expected``: rounding may swap detections of equal score."""
    if expected.ndim != 2 or expected.shape[1] != 7:
        return rows
    distance = np.abs(expected[:, None] - rows[None]) * ([1e6] * 2 + [1.0] * 5)
    reordered: Array = rows[distance.sum(axis=2).argmin(axis=1)]
    return reordered
