"""Darknet's command lines for character-level language models, such as: rnn generate CFG WEIGHTS -seed TEXT.

Flags, defaults and output are Darknet's: in a script, replace ./darknet by darknet-py."""

from __future__ import annotations

import argparse

from . import _darknet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the functions."""
    _darknet.add_functions(parser, "rnn")


def run(args: argparse.Namespace) -> int:
    """Never called: each function sets its own ``run``."""
    raise NotImplementedError(args)
