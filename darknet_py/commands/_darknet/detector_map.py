"""Count mean average precision: ``detector map DATA CFG WEIGHTS -points 11 -iou_thresh 0.5``."""

from __future__ import annotations

import argparse

from . import files, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("-thresh", type=float, default=0.25, help="confidence for TP, FP and F1 (0.25)")
    parser.add_argument("-iou_thresh", type=float, default=0.5, help="overlap at which an object is found (0.5)")
    parser.add_argument("-points", type=int, default=0, help="mean over that many recalls; 0: area under the curve (0)")
    parser.add_argument("-letter_box", action="store_true", help="accepted; as in Darknet [net] letter_box= decides")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from ...evaluation.evaluator import evaluate

    evaluation = evaluate(load(args), args.data, threshold=args.thresh, match_iou=args.iou_thresh, points=args.points)
    print(evaluation.to_darknet_text())
    return 0
