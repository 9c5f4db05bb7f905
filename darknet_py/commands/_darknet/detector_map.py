"""Compute mAP: ``detector map DATA CFG WEIGHTS -points 11 -iou_thresh 0.5``."""

from __future__ import annotations

import argparse

from . import add_arguments, add_evaluation_arguments, load_network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    add_evaluation_arguments(parser)
    parser.add_argument(
        "-points",
        type=int,
        default=0,
        metavar="N",
        help="average precision over N recalls; 0: area under the curve (default: 0)",
    )
    parser.add_argument("-letter_box", action="store_true", help="ignored as in Darknet: [net] letter_box= decides")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from ...evaluation.evaluator import evaluate

    evaluation = evaluate(
        load_network(args), args.data, threshold=args.thresh, match_iou=args.iou_thresh, points=args.points
    )
    print(evaluation.to_darknet_text())
    return 0
