"""Write what is found on the valid list as result files: ``detector valid DATA CFG WEIGHTS -out NAME``.

The format is what ``eval=`` of DATA says, the folder what ``results=`` says. With ``map=``, a file of numbers, the
classes are those of a tree that it names, as combine9k.data does it for YOLO9000."""

from __future__ import annotations

import argparse

from . import files, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("-out", default="", metavar="NAME", help="instead of the files' own name")


def run(args: argparse.Namespace) -> int:
    """Write the files and print where they are."""
    from ...evaluation.valid import write_valid_results

    for path in write_valid_results(load(args), args.data, out=args.out):
        print(path)
    return 0
