"""Options of the loss of anchor heads: the keys that ``[yolo]`` and ``[Gaussian_yolo]`` share."""

from __future__ import annotations

from dataclasses import dataclass

from ...cfg.schema import option
from ._box_loss import BoxLoss
from ._extended_losses import FocalLossOptions, HardNegativeOptions
from ._iou import IoULoss


@dataclass(frozen=True, kw_only=True)
class AnchorLossOptions(HardNegativeOptions, FocalLossOptions):
    """Keys that target assignment and loss read."""

    classes: int = option(20, "number of classes", min=1, max=1000000)
    iou_loss: BoxLoss = option(
        BoxLoss.MSE,
        "box regression loss; eiou, log_iou and l1 are not Darknet's, which takes iou instead",
        train=True,
    )
    iou_normalizer: float = option(0.75, "weight of the box loss", train=True, min=0)
    obj_normalizer: float = option(1.0, "weight of the objectness loss", train=True, min=0)
    cls_normalizer: float = option(1.0, "weight of the class loss (with counters_per_class)", train=True, min=0)
    delta_normalizer: float = option(1.0, "factor on the gradient of the whole loss", train=True, min=0)
    max_delta: float = option(
        float("inf"), "limit of a box gradient's absolute value", train=True, min=0, max=float("inf")
    )
    ignore_thresh: float = option(
        0.5, "IoU above which a prediction is ignored instead of treated as a negative", train=True
    )
    truth_thresh: float = option(
        1.0, "IoU above which a prediction is trained as a positive of the target it overlaps", train=True
    )
    iou_thresh: float = option(
        1.0, "IoU above which further anchors are assigned to a target, besides the most similar", train=True
    )
    iou_thresh_kind: IoULoss = option(IoULoss.IOU, "kind of IoU that iou_thresh compares", train=True)
    counters_per_class: tuple[int, ...] = option(
        (), "objects per class, to weight classes by inverse frequency", train=True, min=0
    )
    label_smooth_eps: float = option(0.0, "label smoothing", train=True, min=0, max=1)
    objectness_smooth: bool = option(False, "train objectness towards the IoU instead of 1", train=True)
