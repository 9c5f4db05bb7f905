"""Darknet's command lines for detectors, such as: detector test DATA CFG WEIGHTS IMAGE -thresh 0.25.

Flags, defaults and output are Darknet's: in a script, replace ./darknet by darknet-py."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the functions."""
    _darknet.add_functions(parser, "detector")


def run(args: argparse.Namespace) -> int:
    """Never called: each function sets its own ``run``."""
    raise NotImplementedError(args)
