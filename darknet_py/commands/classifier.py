"""Darknet's command lines for classifiers, such as: classifier predict DATA CFG WEIGHTS IMAGE -t 5.

Flags, defaults and output are Darknet's: in a script, replace ./darknet by darknet-py."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Accept any words: ``_darknet`` reads them."""
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="FUNCTION ...")


def run(args: argparse.Namespace) -> int:
    """Run the line. ``cli.main`` gives Darknet's lines to ``_darknet`` before argparse sees them."""
    return _darknet.run_line(["classifier", *args.words]) or 0
