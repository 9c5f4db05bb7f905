"""Darknet's own lines for classifiers, such as: classifier predict DATA CFG WEIGHTS IMAGE -t 5.

Flags, their defaults and what is printed are Darknet's, so that a script changes one word."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the functions."""
    _darknet.add(parser, "classifier")


def run(args: argparse.Namespace) -> int:
    """Each function sets its own ``run``; without one argparse has refused the line."""
    raise NotImplementedError(args)
