"""Compute the accuracy on the valid list: ``classifier valid DATA CFG WEIGHTS -topk 5``.

With ``leaves=`` in DATA, a file of class names, only these leaves of the class tree count."""

from __future__ import annotations

import argparse

from . import add_arguments, load_network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    parser.add_argument(
        "-topk", type=int, default=0, metavar="K", help="k of the top-k accuracy (default: top= of DATA)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the accuracy so far after each image, as Darknet does."""
    from ...evaluation.accuracy import evaluate_accuracy_on_data

    _, scores = evaluate_accuracy_on_data(load_network(args), args.data, k=args.topk)
    for so_far in scores:
        print(so_far, flush=True)
    return 0
