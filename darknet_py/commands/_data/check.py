"""Check a data set, and the cfg that follows against it: the same as `darknet-py check DATA`.

    darknet-py data check my.data --per-class
    darknet-py data check my.data my.cfg

Names missing, broken, invalid and duplicate images and labels, and says whether classes, channels and anchors of the
cfg fit the data set. The exit status is 1 if there are problems."""

from __future__ import annotations

import argparse

from .. import _options, check
from ..check import run

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, those of ``check``, with the names that they have for a data set."""
    parser.add_argument("model", metavar="DATA", help=_options.DATA)
    parser.add_argument("weights", metavar="CFG", nargs="?", help=f"a cfg file, or {_options.NAME}")
    check.add_options(parser)
