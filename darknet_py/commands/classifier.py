"""Darknet's command lines for classifiers, such as: classifier predict DATA CFG WEIGHTS IMAGE -t 5.

Flags, defaults and output are Darknet's: in a script, replace ./darknet by darknet-py."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the functions."""
    _darknet.add_functions(parser, "classifier")


def run(args: argparse.Namespace) -> int:
    """Never called: each function sets its own ``run``."""
    raise NotImplementedError(args)
