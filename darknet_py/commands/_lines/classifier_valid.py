"""Count how often a classifier is right on the valid list: ``classifier valid DATA CFG WEIGHTS -topk 5``."""

from __future__ import annotations

import argparse

from . import files, load, settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("-topk", type=int, default=0, metavar="K", help="classes that count; 0: as top= of DATA says")


def run(args: argparse.Namespace) -> int:
    """Print Darknet's line after each picture."""
    from ...dataset import data
    from ...evaluation import accuracy

    options, network = settings(args), load(args)
    pictures, labels = data.read_list(options.file("valid")), data.read_names(options.file("labels"))
    for so_far in accuracy.accuracy(network, pictures, labels, k=args.topk or options.integer("top", 1)):
        print(so_far, flush=True)
    return 0
