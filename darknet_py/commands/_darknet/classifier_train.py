"""Train a classifier: ``classifier train DATA CFG WEIGHTS -topk -dont_show -clear -gpus 0,1``.

Files are written into the folder that ``backup=`` of DATA names."""

from __future__ import annotations

import argparse

from .. import _training
from . import add_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser, weights="?")
    _training.add_darknet_options(parser)
    parser.add_argument("-topk", action="store_true", help="compute the top-k accuracy of the valid list on the way")
    parser.add_argument("-mjpeg_port", type=int, help="accepted; nothing is served, see the chart's file")
    parser.add_argument("-show_imgs", action="store_true", help="accepted; no window is opened")


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _training.run_darknet_command(args, args.data, validate=args.topk, map_epochs=2)
