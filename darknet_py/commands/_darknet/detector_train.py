"""Train a detector: ``detector train DATA CFG WEIGHTS -map -dont_show -clear -gpus 0,1``.

Files go into the folder that ``backup=`` of DATA says. Several GPUs share every batch of the cfg; Darknet gives each
a batch of its own and multiplies the rate."""

from __future__ import annotations

import argparse

from .. import _training
from . import add_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser, weights="?")
    _training.darknet_options(parser)
    parser.add_argument("-map", action="store_true", help="count mAP on the way and keep the best weights")
    parser.add_argument("-mAP_epochs", type=float, default=4, metavar="N", help="epochs between two mAPs (4)")
    parser.add_argument("-thresh", type=float, default=0.25, help="confidence for TP, FP and F1 (0.25)")
    parser.add_argument("-iou_thresh", type=float, default=0.5, help="overlap at which an object is found (0.5)")
    parser.add_argument("-mjpeg_port", type=int, help="accepted; nothing is served, see the chart's file")
    parser.add_argument("-show_imgs", action="store_true", help="accepted; no window is opened")
    parser.add_argument("-benchmark_layers", action="store_true", help="accepted; see darknet-py benchmark")


def run(args: argparse.Namespace) -> int:
    """Train."""
    limits = {"threshold": args.thresh, "iou_threshold": args.iou_thresh}
    return _training.darknet(args, args.data, score=args.map, map_epochs=args.mAP_epochs, **limits)
