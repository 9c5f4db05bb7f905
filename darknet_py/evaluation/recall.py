"""``recall``: how many objects are covered by any box, whatever its class (``detector recall``)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..boxes import NMSOptions, iou, nms_keep
from ..data.data_file import Dataset, Sample
from ..images import reading
from ..images.prefetch import ahead
from ..layers import DecodeOptions
from ..network import Network, evaluating
from .detections import decode

_OBJECTNESS, _NMS, _OVERLAP = 0.001, 0.4, 0.5


def recall(network: Network, dataset: Dataset, workers: int = 2) -> Iterator[str]:
    """Darknet's line for each image, the sums so far: ``image found objects RPs/Img IOU Recall``.

    As there images are stretched, boxes are those with an objectness above 0.001, suppressed at an overlap
    of 0.4 whatever their class, and an object is found by an overlap above 0.5. Raises DataError for a
    image that cannot be read.
    """
    size = network.shape.width, network.shape.height

    def read(sample: Sample) -> Tensor:
        return reading.prepare(reading.load(sample.image, network.shape.channels), size)

    found = objects = boxes = 0
    overlap = 0.0
    with evaluating(network):
        for index, (x, sample) in enumerate(zip(ahead(read, dataset, workers), dataset, strict=True)):
            proposals = _proposals(network, x)
            boxes += len(proposals)
            objects += len(sample.targets)
            if len(sample.targets) and len(proposals):
                best = iou(torch.from_numpy(sample.targets[:, None, :4]), proposals[None]).amax(dim=1)
                overlap += float(best.sum())
                found += int((best > _OVERLAP).sum())
            of = objects or 1
            yield (
                f"{index:5} {found:5} {objects:5}\tRPs/Img: {boxes / (index + 1):.2f}\t"
                f"IOU: {100 * overlap / of:.2f}%\tRecall:{100 * found / of:.2f}%"
            )


def _proposals(network: Network, x: Tensor) -> Tensor:
    """[n, 4] boxes of an image."""
    candidates = decode(network, x[None], DecodeOptions(_OBJECTNESS))[0]
    order = candidates.objectness.argsort(descending=True, stable=True)
    boxes = candidates.boxes[order]
    return boxes[nms_keep(boxes, _NMS, NMSOptions())]
