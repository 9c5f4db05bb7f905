"""Where each detection head sees objects, and which parts of the image raise a class's score: Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._typing import StrPath
from .data.class_names import class_numbers
from .figures import HEAT_COLOURS, INK, figure_format, plain_text, require_figure_class, write_figure
from .images.reading import ImageArray
from .images.resizing import letterboxed_size, prepare_input
from .modes import standard_defaults
from .network import evaluating, unwrap
from .postprocess import decode_dense, require_heads, uses_letterbox

_FORMATS = (".png", ".jpg", ".pdf", ".svg")


@dataclass(frozen=True)
class HeadExplanation:
    """What one head sees in an image.

    Attributes:
        layer: number of the head.
        cls: the class that is explained.
        score: its highest probability in this head, 0..1.
        confidence: for each pixel, the highest class probability of the boxes whose centre is in its cell, float32
            [height, width] in 0..1.
        cam: Grad-CAM of ``score`` with respect to the input of the head's last convolution, float32 [height, width] in
            0..1 of the largest value (https://arxiv.org/abs/1610.02391).
    """

    layer: int
    cls: int
    score: float
    confidence: Tensor
    cam: Tensor


@standard_defaults()
def explain(
    network: nn.Module,
    image: ImageArray,
    *,
    cls: int | str | None = None,
    names: Sequence[str] = (),
    letterbox: bool | None = None,
) -> list[HeadExplanation]:
    """Explain the detections of an image, head by head.

    Args:
        network: a network with detection heads; computed in eval mode, and left as it was.
        image: uint8 [height, width, channels].
        cls: number or name of the class; None: in each head the class with the highest probability.
        names: names of the classes, for ``cls``.
        letterbox: keep the image's aspect ratio; None: as the network does.

    Raises:
        DarknetError: there is no detection head, or no such class.
    """
    net = unwrap(network)
    heads = require_heads(net)
    number = None if cls is None else class_numbers([cls], names or [str(n) for n in range(heads[-1].classes)])[0]
    layers = list(net.outputs)
    before = [[max(net.sources[source][0], 0) for source in net.sources[layer]] for layer in layers]
    features = [number for numbers in before for number in numbers]
    size = (net.shape.width, net.shape.height)
    padded = uses_letterbox(net, letterbox)
    parameter = next(net.parameters())
    x = prepare_input(image, size, padded)[None].to(parameter)
    with evaluating(net), torch.inference_mode(False), torch.enable_grad():
        maps = net.features(x.clone().requires_grad_(), [*features, *layers])
        outputs = maps[len(features) :]
        remaining = iter(maps)
        explanations = []
        for layer, numbers, output, (boxes, scores) in zip(
            layers, before, outputs, decode_dense(net, outputs, size), strict=True
        ):
            own = [next(remaining) for _ in numbers]
            best = int(scores[0].amax(dim=0).argmax()) if number is None else number
            score = scores[0, :, best].max()
            gradients = torch.autograd.grad(score, own, retain_graph=True, allow_unused=True, materialize_grads=True)
            pairs = zip(own, gradients, strict=True)  # of a head that reads several maps, the box is of one of them
            feature, gradient = max(pairs, key=lambda pair: float(pair[1].abs().sum()))
            with torch.no_grad():
                weights = gradient.float().mean(dim=(2, 3), keepdim=True)
                cam = (weights * feature.float()).sum(dim=1).relu()[0]
                cells = _cells(boxes[0], scores[0], (own[0] if len(own) > 1 else output).shape[2:])
                explanations.append(
                    HeadExplanation(
                        layer=layer,
                        cls=best,
                        score=float(score),
                        confidence=_to_image(cells, image, size, padded, "nearest"),
                        cam=_to_image(cam / cam.max().clamp(min=1e-12), image, size, padded, "bilinear"),
                    )
                )
    return explanations


def _cells(boxes: Tensor, scores: Tensor, shape: Sequence[int]) -> Tensor:
    """The highest score [height, width] of the boxes whose centre is in each cell."""
    height, width = shape
    column = (boxes[:, 0] * width).long().clamp(0, width - 1)
    row = (boxes[:, 1] * height).long().clamp(0, height - 1)
    cells = torch.zeros(height * width, device=scores.device)
    return cells.scatter_reduce(0, row * width + column, scores.float().amax(dim=1), "amax").view(height, width)


def _to_image(values: Tensor, image: ImageArray, size: tuple[int, int], padded: bool, mode: str) -> Tensor:
    """Resize a map of the network's input to the image, without the padding of a letterbox; on the CPU."""
    width, height = size
    rows, columns = image.shape[:2]
    enlarged = F.interpolate(values[None, None], (height, width), mode=mode)
    if padded:
        inner_width, inner_height = letterboxed_size((columns, rows), size)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        enlarged = enlarged[:, :, top : top + inner_height, left : left + inner_width]
    return F.interpolate(enlarged, (rows, columns), mode="bilinear")[0, 0].cpu()


def draw_explanation(
    image: ImageArray, explanations: Sequence[HeadExplanation], path: StrPath, *, names: Sequence[str] = ()
) -> None:
    """Write a sheet with a row for each head: its confidence and its Grad-CAM over the image.

    Args:
        image: uint8 [height, width, channels].
        explanations: those of ``explain``.
        path: a file with suffix .png, .jpg, .pdf or .svg.
        names: names of the classes.

    Raises:
        DarknetError: the suffix is another one, matplotlib is not installed, or the file cannot be written.
    """
    form = figure_format(path, _FORMATS, "an image")
    figure_class = require_figure_class()
    rows, columns = image.shape[:2]
    width = 5.0
    figure = figure_class(figsize=(2 * width, len(explanations) * (width * rows / columns + 0.4)), layout="constrained")
    axes = figure.subplots(len(explanations), 2, squeeze=False)
    for pair, explained in zip(axes, explanations, strict=True):
        name = names[explained.cls] if names else f"class {explained.cls}"
        titles = (f"layer {explained.layer}: confidence", f"Grad-CAM of {name}, {explained.score:.0%}")
        for ax, title, values in zip(pair, titles, (explained.confidence, explained.cam), strict=True):
            _draw_heat(ax, image, plain_text(title), values)
    write_figure(figure, path, format=form, dpi=110, facecolor="white")


def _draw_heat(ax: Any, image: ImageArray, title: str, values: Tensor) -> None:
    shown = image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]
    heat = values.clamp(0, 1).numpy()
    ax.imshow(shown, cmap="gray")
    ax.imshow(heat, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=0.15 + 0.7 * heat)
    ax.set_title(title, loc="left", fontsize=10, color=INK)
    ax.set_axis_off()
