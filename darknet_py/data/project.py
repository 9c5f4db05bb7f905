"""The cfg of a network for a data set: classes, anchors, and the schedule of AlexeyAB's README.

https://github.com/AlexeyAB/darknet#how-to-train-to-detect-your-custom-objects
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from .. import cfg
from ..cfg.editing import Edit, rewrite
from ..errors import ConfigError
from ..network import Network
from ..schedule import advised_iterations
from .anchor_cfg import AnchorCfg
from .anchors import BoxSizes, collect_sizes, mean_best_iou, search_anchors
from .dataset import Dataset

_BATCH, _SUBDIVISIONS = 64, 16
_STEPS = (0.8, 0.9)  # of the iterations


class ProjectCfg(NamedTuple):
    """A cfg for a data set.

    Attributes:
        text: the cfg.
        anchors: float64 [n, 2], in pixels of the input, smallest first.
        old_iou: mean IoU of the objects with the best anchor of the original cfg.
        new_iou: the same with ``anchors``.
        stride: pixels of which width and height of the input are multiples.
        layout: a line for each head: its map and its anchors.
    """

    text: str
    anchors: BoxSizes
    old_iou: float
    new_iou: float
    stride: int
    layout: list[str]


def create_project_cfg(network: Network, train: Dataset, name: str, seed: int = 0) -> ProjectCfg:
    """Return the cfg of a network with the classes and anchors of a data set and AlexeyAB's schedule.

    Args:
        network: the network that is changed; its size is kept.
        train: the training images.
        name: name of the project.
        seed: random seed of the search for anchors.

    Raises:
        ConfigError: the network has no head with anchors, or the cfg does not fit together.
        DataError: the data set has no objects.
    """
    classes = len(train.names)
    shape, config = network.shape, network.config
    original = pathlib.PurePath(config.path).name
    anchor_cfg = AnchorCfg(network)
    boxes = collect_sizes(train, shape.width, shape.height)
    count = len(anchor_cfg.anchors)
    old_iou = anchor_cfg.mean_best_iou(boxes)
    if len(boxes) < count:
        anchors = anchor_cfg.anchors
        why = f"Those of {original}: {len(boxes)} objects are too few to compute {count} anchors."
    else:
        anchors = np.maximum(search_anchors(boxes, count, np.random.default_rng(seed)), 1)
        why = (
            f"k-means over the {len(boxes)} objects of the training images: their mean IoU with the best anchor is "
            f"{mean_best_iou(boxes, anchors):.1%} ({old_iou:.1%} with those of {original})."
        )
    reasons = {
        "anchors": why,
        "mask": "The anchors of this head by index: the smaller ones belong to the finer map.",
        "classes": f"The lines of {name}.names.",
        "num": "All anchors.",
        "filters": f"What the head below reads: for each of its anchors a box, objectness and {classes} classes.",
    }
    edits = {
        index: {key: Edit(value, reasons.get(key, "")) for key, value in values.items()}
        for index, values in anchor_cfg.edits(anchors, classes).items()
    }
    edits[0] = _net_edits(network, classes, len(train), anchor_cfg.stride)
    head = [
        f"{name}: {classes} class{'' if classes == 1 else 'es'}, made from {original} by darknet-py new.",
        "A comment stands above each value that was set, and says why.",
    ]
    text = rewrite(config, edits, head)
    try:
        Network(cfg.loads(text, f"{name}.cfg", allow_paths=config.allow_paths), dialect=network.dialect)
    except ConfigError as error:
        raise ConfigError(f"{config.path} cannot be changed to {classes} classes: {error}") from error
    new_iou = mean_best_iou(boxes, anchors)
    return ProjectCfg(text, anchors, old_iou, new_iou, anchor_cfg.stride, anchor_cfg.describe(anchors, boxes))


def _net_edits(network: Network, classes: int, images: int, stride: int) -> dict[str, Edit]:
    """The values of ``[net]``."""
    iterations = advised_iterations(images, classes)
    steps = ",".join(str(round(part * iterations)) for part in _STEPS)
    percent = " and ".join(f"{part:.0%}" for part in _STEPS)
    return {
        "width": Edit(
            str(network.shape.width), f"Input in pixels, multiples of {stride}. Larger finds smaller objects."
        ),
        "height": Edit(str(network.shape.height)),
        "batch": Edit(str(_BATCH), "Images per iteration, as in AlexeyAB's README."),
        "subdivisions": Edit(
            str(_SUBDIVISIONS),
            f"The batch is computed {_BATCH // _SUBDIVISIONS} images at a time. If memory does not suffice: 32 or 64.",
        ),
        "max_batches": Edit(
            str(iterations),
            "Iterations: 2000 per class, at least 6000, and at least one per training image "
            f"({classes} classes, {images} images).",
        ),
        "policy": Edit("steps", f"The learning rate is divided by 10 at {percent} of max_batches."),
        "steps": Edit(steps),
        "scales": Edit(",".join(["0.1"] * len(_STEPS))),
    }
