"""Options of the loss of ``[region]``."""

from __future__ import annotations

from dataclasses import dataclass

from ...cfg.schema import option
from ._extended_losses import FocalLossOptions, HardNegativeOptions


@dataclass(frozen=True, kw_only=True)
class RegionLossOptions(HardNegativeOptions, FocalLossOptions):
    """Keys that the loss reads; ``background`` is pjreddie's."""

    classes: int = option(20, "number of classes", min=1, max=1000000)
    num: int = option(1, "number of anchors", min=1, max=10000)
    coords: int = option(
        4, "values per box; those above 4 are masks (pjreddie), other numbers are not decoded", min=1, max=10000
    )
    softmax: bool = option(False, "softmax over the classes")
    classfix: int = option(
        0,
        "-1: objectness below 0.5 is treated as 0 and trained towards the IoU; 1, 2: predictions with an IoU above "
        "thresh are trained on the class of their target",
    )
    background: bool = option(False, "a background class instead of objectness (pjreddie)")
    focal_loss: bool = option(False, "focal loss of the classes", train=True)
    rescore: bool = option(False, "train objectness towards the IoU instead of 1", train=True)
    thresh: float = option(
        0.5, "IoU above which a prediction is ignored instead of treated as a negative", train=True, min=0
    )
    coord_scale: float = option(1.0, "weight of the box loss", train=True, min=0)
    object_scale: float = option(1.0, "weight of the objectness loss of positives", train=True, min=0)
    noobject_scale: float = option(1.0, "weight of the objectness loss of negatives", train=True, min=0)
    class_scale: float = option(1.0, "weight of the class loss", train=True, min=0)
    bias_match: bool = option(
        False, "assign a target to the most similar anchor instead of the most similar prediction", train=True
    )
