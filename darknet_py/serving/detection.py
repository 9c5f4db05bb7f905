"""What is batched: images become boxes in one forward pass, each with the options of its request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..detector import Detector
from ..images.reading import ImageSource
from ..inference.exported_model import form_of
from ..network import evaluating
from ..postprocess import Heads
from ..results.results import Results
from .requests import check_image


@dataclass(frozen=True, eq=False)
class DetectionRequest:
    """An image, and a detector with the options of the request (``Detector.with_options``)."""

    image: ImageSource
    detector: Detector


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """An image as the network's input; the image itself is not kept while it waits.

    Attributes:
        x: float32 [1, channels, height, width] in 0..1.
        shape: height and width of the image in pixels.
        detector: the detector with the options of the request.
    """

    x: Tensor
    shape: tuple[int, int]
    detector: Detector


def prepare(request: DetectionRequest) -> NetworkInput:
    """Decode and resize an image. Raises DataError; RequestError if it is bytes that are refused."""
    if isinstance(request.image, bytes):
        check_image(request.image, request.detector.read_image.keywords["max_pixels"])
    image = request.detector.read_image(request.image)
    return NetworkInput(request.detector.preprocess([image]), (image.shape[0], image.shape[1]), request.detector)


def detect(inputs: Sequence[NetworkInput]) -> list[Results]:
    """Run the network once, and convert its outputs by the options of each request.

    With recurrent layers every image is a sequence of its own, and the network runs for each.

    Returns:
        ``Results`` without an image, in the order of the inputs.
    """
    first = inputs[0].detector
    if first.architecture.stateful and len(inputs) > 1:
        return [result for each in inputs for result in detect([each])]
    if first.architecture.stateful:
        first.reset()
    with torch.inference_mode(), evaluating(first.architecture):
        outputs = first.run(torch.cat([each.x for each in inputs]))
        results: dict[int, Results] = {}
        for indices in _by_detector(inputs):
            rows = outputs if len(indices) == len(inputs) else _of_images(outputs, indices, form_of(first.run))
            shapes = [inputs[index].shape for index in indices]
            results.update(zip(indices, inputs[indices[0]].detector.postprocess(rows, shapes), strict=True))
    return [results[index] for index in range(len(inputs))]


def _of_images(outputs: Sequence[Tensor], indices: list[int], form: Heads) -> list[Tensor]:
    """The outputs of some images of a batch: rows of each head, or with ``Heads.NMS`` the detections of each image."""
    return [outputs[index] for index in indices] if form is Heads.NMS else [output[indices] for output in outputs]


def _by_detector(inputs: Sequence[NetworkInput]) -> list[list[int]]:
    """The numbers of the inputs of each detector."""
    groups: dict[int, list[int]] = {}
    for index, each in enumerate(inputs):
        groups.setdefault(id(each.detector), []).append(index)
    return list(groups.values())
