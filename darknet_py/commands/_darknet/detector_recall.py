"""Compute class-agnostic recall: ``detector recall DATA CFG WEIGHTS``."""

from __future__ import annotations

import argparse

from .. import _output
from . import add_arguments, load_network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the recall so far after each image, as Darknet does."""
    from ...data.formats import load_dataset
    from ...evaluation.recall import recall_lines
    from ...postprocess import require_heads

    network = load_network(args)
    classes = require_heads(network)[-1].classes
    errors = _output.ErrorLog()
    for line in recall_lines(network, load_dataset(args.data, "valid", classes=classes), on_error=errors.add):
        print(line, flush=True)
    return errors.status()
