"""Darknet's own lines for detectors, such as: detector test DATA CFG WEIGHTS IMAGE -thresh 0.25.

Flags, their defaults and what is printed are Darknet's, so that a script changes one word."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the functions."""
    _darknet.add(parser, "detector")


def run(args: argparse.Namespace) -> int:
    """Each function sets its own ``run``; without one argparse has refused the line."""
    raise NotImplementedError(args)
