"""Train a classifier: ``classifier train DATA CFG WEIGHTS -topk -dont_show -clear -gpus 0,1``.

Files are written into the folder that ``backup=`` of DATA names."""

from __future__ import annotations

import argparse

from .. import _training
from . import IGNORED, add_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser, weights="?")
    _training.add_darknet_options(parser)
    parser.add_argument(
        "-topk", action="store_true", help="compute the top-k accuracy on the valid list during training"
    )
    parser.add_argument(
        "-mjpeg_port", type=int, metavar="PORT", help="ignored: the chart is written to a file, see -chart"
    )
    parser.add_argument("-show_imgs", action="store_true", help=IGNORED)


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _training.run_darknet_command(args, args.data, validate=args.topk, map_epochs=2)
