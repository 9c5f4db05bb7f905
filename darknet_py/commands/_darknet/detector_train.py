"""Train a detector: ``detector train DATA CFG WEIGHTS -map -dont_show -clear -gpus 0,1``.

Files are written into the folder that ``backup=`` of DATA names. Several GPUs share every batch of the cfg; Darknet
gives each GPU a whole batch and multiplies the learning rate by the number of GPUs."""

from __future__ import annotations

import argparse

from .. import _training
from . import IGNORED, add_arguments, add_evaluation_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser, weights="?")
    _training.add_darknet_options(parser)
    parser.add_argument("-map", action="store_true", help="compute mAP during training and keep the best weights")
    parser.add_argument(
        "-mAP_epochs", type=float, default=4, metavar="N", help="epochs between evaluations (default: 4)"
    )
    add_evaluation_arguments(parser)
    parser.add_argument(
        "-mjpeg_port", type=int, metavar="PORT", help="ignored: the chart is written to a file, see -chart"
    )
    parser.add_argument("-show_imgs", action="store_true", help=IGNORED)
    parser.add_argument("-benchmark_layers", action="store_true", help="ignored: see darknet-py benchmark")


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _training.run_darknet_command(
        args,
        args.data,
        validate=args.map,
        map_epochs=args.mAP_epochs,
        score_threshold=args.thresh,
        match_iou=args.iou_thresh,
    )
