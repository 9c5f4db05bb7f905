"""Count how many objects any box finds: ``detector recall DATA CFG WEIGHTS``."""

from __future__ import annotations

import argparse

from . import files, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line an image, with the sums so far."""
    from ...data import datasets
    from ...evaluation.recall import recall_lines
    from ...postprocess import require_heads

    network = load(args)
    classes = require_heads(network)[-1].classes
    for line in recall_lines(network, datasets.load(args.data, "valid", classes=classes)):
        print(line, flush=True)
    return 0
