"""Training: ``detector train``, ``classifier train`` and ``rnn train``.

The line of an iteration is Darknet's and is printed to stdout, as there: ``| tee``, ``| grep avg`` and scripts that
plot it work. Everything else, as the numbers of the layers, goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .. import _training
from . import function, read_data

if TYPE_CHECKING:
    from ...training.logger import IterationMetrics

TRAIN_FLAGS = "-clear -gpus -chart"
_WORDS = {
    "iou": "Avg (IOU: {:f})",
    "count": "count: {:.0f}",
    "class": "class_loss = {:f}",
    "box": "iou_loss = {:f}",
    "total": "total_loss = {:f}",
}


@function(
    "detector train",
    "data cfg weights?",
    f"{TRAIN_FLAGS} -max_pixels -map -mAP_epochs -thresh -iou_thresh -save_weights",
)
def run_detector_train(args: argparse.Namespace) -> int:
    """Train a detector: detector train DATA CFG WEIGHTS -map -dont_show -clear -gpus 0,1.

    Files are written into the folder that ``backup=`` of DATA names. Several GPUs share every batch of the cfg; Darknet
    gives each GPU a whole batch and multiplies the learning rate by the number of GPUs.
    """
    return _training.run_darknet_command(
        args,
        args.data,
        validate=args.map,
        map_epochs=args.mAP_epochs,
        score_threshold=args.thresh,
        match_iou=args.iou_thresh,
        save_every=args.save_weights,
        max_pixels=args.max_pixels,
        on_iteration=_print_detector_line,
    )


def _print_detector_line(metrics: IterationMetrics) -> None:
    _print_layers(metrics)
    print(
        f"\n {metrics.iteration}: {metrics.loss:f}, {metrics.average_loss:f} avg loss, {metrics.lr:f} rate, "
        f"{metrics.seconds:f} seconds, {metrics.images} images, {metrics.hours_left:f} hours left",
        flush=True,
    )


def print_pjreddie_line(metrics: IterationMetrics) -> None:
    """Print the line of ``yolo train`` and ``coco train``."""
    print(
        f"{metrics.iteration}: {metrics.loss:f}, {metrics.average_loss:f} avg, {metrics.lr:f} rate, "
        f"{metrics.seconds:f} seconds, {metrics.images} images",
        flush=True,
    )


def _print_layers(metrics: IterationMetrics) -> None:
    """Print the numbers of each head to stderr, as in Darknet's "v3 ..." lines."""
    for layer, numbers in metrics.layers.items():
        text = ", ".join(_WORDS[name].format(value) for name, value in numbers.items() if name in _WORDS)
        if text:
            print(f"v3 Region {layer} {text}", file=sys.stderr)


@function("classifier train", "data cfg weights?", f"{TRAIN_FLAGS} -max_pixels -topk")
def run_classifier_train(args: argparse.Namespace) -> int:
    """Train a classifier: classifier train DATA CFG WEIGHTS -topk -dont_show -clear -gpus 0,1.

    Files are written into the folder that ``backup=`` of DATA names.
    """
    from ...text_files import read_list

    images = len(read_list(read_data(args).get_path("train")))

    def print_line(metrics: IterationMetrics) -> None:
        print(
            f"{metrics.iteration}, {metrics.images / images:.3f}: {metrics.loss:f}, {metrics.average_loss:f} avg, "
            f"{metrics.lr:f} rate, {metrics.seconds:f} seconds, {metrics.images} images, "
            f"{metrics.hours_left:f} hours left",
            flush=True,
        )

    return _training.run_darknet_command(
        args,
        args.data,
        validate=args.topk is not None,
        map_epochs=2,
        max_pixels=args.max_pixels,
        on_iteration=print_line,
    )


@function("rnn train", "cfg weights?", f"{TRAIN_FLAGS} -file")
def run_rnn_train(args: argparse.Namespace) -> int:
    """Train a character-level language model: rnn train CFG WEIGHTS -file shakespeare.txt -clear.

    In Darknet's last versions this command does not change the weights; here it trains. Files are written into backup/.
    """
    from ...training.text_batches import TextFile

    return _training.run_darknet_command(args, TextFile(args.file))
