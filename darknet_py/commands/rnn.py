"""Darknet's command lines for character-level language models, such as: rnn generate CFG WEIGHTS -seed TEXT.

Flags, defaults and output are Darknet's: in a script, replace ./darknet by darknet-py."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Accept any words: ``_darknet`` reads them."""
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="FUNCTION ...")


def run(args: argparse.Namespace) -> int:
    """Run the line. ``cli.main`` gives Darknet's lines to ``_darknet`` before argparse sees them."""
    return _darknet.run_line(["rnn", *args.words]) or 0
