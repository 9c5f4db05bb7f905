"""Write the detections of the valid list as result files: ``detector valid DATA CFG WEIGHTS -out NAME``.

``eval=`` of DATA is the format, ``results=`` the folder. ``map=`` of DATA is a file of class numbers: only
these classes of the class tree are reported, as in combine9k.data for YOLO9000."""

from __future__ import annotations

import argparse

from . import add_arguments, load_network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    parser.add_argument("-out", default="", metavar="NAME", help="prefix of the files (default: that of the format)")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths."""
    from ...evaluation.valid import write_valid_results

    for path in write_valid_results(load_network(args), args.data, out=args.out):
        print(path)
    return 0
