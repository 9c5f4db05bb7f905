"""Training: ``detector train``, ``classifier train`` and ``rnn train``.

The lines of iterations and heads are Darknet's and go to the same stream: ``| tee``, ``| grep avg`` and scripts that
plot them work. Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import _training
from . import function, read_data

if TYPE_CHECKING:
    from ...network import Network
    from ...training.metrics import IterationMetrics

TRAIN_FLAGS = "-clear -gpus -chart"


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
        line_printer=_detector_lines,
    )


def _detector_lines(network: Network) -> Callable[[IterationMetrics], object]:
    def print_lines(metrics: IterationMetrics) -> None:
        _print_heads(network, metrics)
        print(
            f"\n {metrics.iteration}: {metrics.loss:f}, {metrics.average_loss:f} avg loss, {metrics.lr:f} rate, "
            f"{metrics.seconds:f} seconds, {metrics.images} images, {metrics.hours_left:f} hours left",
            flush=True,
        )

    return print_lines


def _print_heads(network: Network, metrics: IterationMetrics) -> None:
    """Print the numbers of each head for each mini-batch, to the stream that Darknet prints them to."""
    heads = dict(zip(network.outputs, network.heads, strict=False))  # without heads there is another output
    for mini_batch in metrics.mini_batches:
        for index, numbers in mini_batch.items():
            if (head := heads.get(index)) is not None and len(numbers) > 1:  # without a loss there is the cost only
                print(head.loss_line(index, numbers), file=sys.stderr if head.prints_loss_to_stderr else sys.stdout)


def pjreddie_lines(network: Network) -> Callable[[IterationMetrics], object]:
    """Return what prints the lines of ``yolo train`` and ``coco train``."""

    def print_lines(metrics: IterationMetrics) -> None:
        _print_heads(network, metrics)
        print(
            f"{metrics.iteration}: {metrics.loss:f}, {metrics.average_loss:f} avg, {metrics.lr:f} rate, "
            f"{metrics.seconds:f} seconds, {metrics.images} images",
            flush=True,
        )

    return print_lines


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
        line_printer=lambda _: print_line,
    )


@function("rnn train", "cfg weights?", f"{TRAIN_FLAGS} -file")
def run_rnn_train(args: argparse.Namespace) -> int:
    """Train a character-level language model: rnn train CFG WEIGHTS -file shakespeare.txt -clear.

    In Darknet's last versions this command does not change the weights; here it trains. Files are written into backup/.
    """
    from ...training.text_batches import TextFile

    return _training.run_darknet_command(args, TextFile(args.file))
