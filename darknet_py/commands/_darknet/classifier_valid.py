"""Count how often a classifier is right on the valid list: ``classifier valid DATA CFG WEIGHTS -topk 5``.

``leaves=`` of DATA, a file of names, says which classes of a tree are leaves, as only they count."""

from __future__ import annotations

import argparse

from . import files, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("-topk", type=int, default=0, metavar="K", help="classes that count; 0: as top= of DATA says")


def run(args: argparse.Namespace) -> int:
    """Print Darknet's line after each image."""
    from ...evaluation.accuracy import evaluate_accuracy_on_data

    _, scores = evaluate_accuracy_on_data(load(args), args.data, k=args.topk)
    for so_far in scores:
        print(so_far, flush=True)
    return 0
