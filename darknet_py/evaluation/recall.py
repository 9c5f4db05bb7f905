"""Class-agnostic recall: the fraction of ground-truth boxes that any detection covers (``detector recall``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..boxes import NMSOptions, iou, nms_keep
from ..data.dataset import Dataset, Sample
from ..errors import DataError
from ..images import resizing
from ..images.limits import MAX_PIXELS
from ..images.prefetch import catch_errors, drop_errors, map_prefetched
from ..images.reading import read_image
from ..layers import DecodeOptions
from ..network import Network, evaluating, fresh_state
from ..postprocess import decode, require_heads

_MIN_OBJECTNESS = 0.001
_NMS = 0.4
_MATCH_IOU = 0.5


def recall_lines(
    network: Network,
    dataset: Dataset,
    workers: int = 2,
    on_error: Callable[[DataError], object] | None = None,
    max_pixels: int = MAX_PIXELS,
    nms: float = _NMS,
) -> Iterator[str]:
    """Yield Darknet's line for each image with the sums so far: ``image hits targets RPs/Img IOU Recall``.

    As in ``validate_detector_recall``, images are stretched, boxes with an objectness above 0.001 are kept, NMS
    ignores classes, and a ground-truth box counts as detected if its best IoU is above 0.5.

    Args:
        network: a detector.
        dataset: images with labels.
        workers: threads that read images.
        on_error: called with the error of an image that cannot be read, which is left out; None: the error is raised.
        max_pixels: refuse image files with more pixels.
        nms: IoU threshold of NMS; 0 disables it.

    Raises:
        DataError: the network has no detection head, or an image cannot be read.
    """
    require_heads(network)
    size = network.shape.width, network.shape.height

    def read(sample: Sample) -> tuple[Sample, Tensor]:
        image = read_image(sample.image, network.shape.channels, max_pixels=max_pixels)
        return sample, resizing.prepare_input(image, size)

    hits = 0
    targets = 0
    proposals = 0
    iou_sum = 0.0
    with evaluating(network), fresh_state(network):
        loaded = drop_errors(map_prefetched(catch_errors(read), dataset, workers), on_error)
        for index, (sample, x) in enumerate(loaded):
            boxes = _proposals(network, x, nms)
            proposals += len(boxes)
            targets += len(sample.targets)
            if len(sample.targets) and len(boxes):
                best = iou(torch.from_numpy(sample.targets[:, None, :4]), boxes[None]).amax(dim=1)
                iou_sum += float(best.sum())
                hits += int((best > _MATCH_IOU).sum())
            total = targets or 1
            yield (
                f"{index:5} {hits:5} {targets:5}\tRPs/Img: {proposals / (index + 1):.2f}\t"
                f"IOU: {100 * iou_sum / total:.2f}%\tRecall:{100 * hits / total:.2f}%"
            )


def _proposals(network: Network, x: Tensor, nms: float) -> Tensor:
    """Boxes [n, 4] of an image [channels, height, width] after class-agnostic NMS by objectness (``do_nms_obj``)."""
    size = (x.shape[2], x.shape[1])
    with torch.inference_mode():
        outputs = network(x[None].to(next(network.parameters()).device))
        detections = decode(network, outputs, size, DecodeOptions(_MIN_OBJECTNESS))[0]
    order = detections.objectness.argsort(descending=True, stable=True)
    boxes = detections.boxes[order].cpu()
    return boxes[nms_keep(boxes, nms, NMSOptions())] if nms else boxes
